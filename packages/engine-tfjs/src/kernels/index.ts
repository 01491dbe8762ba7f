/** ONNX `op_type` → kernel. Those of com.microsoft have names of their own. */
import type { Kernels } from './call.ts';
import { ELEMENTWISE } from './elementwise.ts';
import { INDEXING } from './indexing.ts';
import { LINEAR_ALGEBRA } from './linear-algebra.ts';
import { NORMALISATION } from './normalisation.ts';
import { REDUCTIONS } from './reductions.ts';
import { RESIZE } from './resize.ts';
import { SHAPING } from './shaping.ts';
import { WINDOWS } from './windows.ts';

/** Every operator that this engine runs on a device; `Shape` and `Size` are read off the shapes and need no kernel. */
export const KERNELS: Kernels = {
  ...ELEMENTWISE,
  ...INDEXING,
  ...LINEAR_ALGEBRA,
  ...NORMALISATION,
  ...REDUCTIONS,
  ...RESIZE,
  ...SHAPING,
  ...WINDOWS,
};
