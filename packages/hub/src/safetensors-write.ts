/**
 * Writes safetensors, atomically and deterministically: the same tensors give the same bytes. Order is that of the
 * reference implementation (wide dtypes first, then names), which keeps every tensor aligned to its element without holes;
 * the data starts at a multiple of 8.
 */
import {
  BYTES_PER_ELEMENT,
  QuerentError,
  elementCount,
  isFileTensor,
  type DType,
  type ParameterData,
  type ParameterSet,
  type TensorData,
} from '@querent/core';
import { writeFileAtomic } from './file-write.ts';
import { float32ToBfloat16, float32ToFloat16 } from './float16.ts';
import { asFloat32, loadTensor } from './safetensors.ts';

/** Dtypes in which floating-point tensors can be stored. */
export type StoredDType = 'float32' | 'float16' | 'bfloat16';

export interface WriteSafetensorsOptions {
  /** Store all floating-point tensors in this dtype; each keeps its own when absent. Integers are never changed. */
  readonly dtype?: StoredDType;
  /** `__metadata__`. HF's own files say `{ format: 'pt' }`, which is the default: transformers asks for it. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** safetensors' names of dtypes. */
export const SAFETENSORS_NAMES: Readonly<Record<DType, string>> = {
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  float64: 'F64',
  int64: 'I64',
  int32: 'I32',
  int8: 'I8',
  uint8: 'U8',
  bool: 'BOOL',
};

const FLOATS: readonly DType[] = ['float32', 'float16', 'bfloat16', 'float64'];

/**
 * Writes `file`. Tensors that lie in files are loaded one at a time; replacing the very file they lie in is safe.
 * @throws QuerentError QRT_FILE with the cause (full disk, no permission, …); then nothing is left behind.
 */
export async function writeSafetensors(file: string, tensors: ParameterSet, options: WriteSafetensorsOptions = {}): Promise<void> {
  const entries = [...tensors]
    .map(([name, tensor]) => ({ name, tensor, dtype: storedDType(tensor.dtype, options.dtype) }))
    .sort((a, b) => BYTES_PER_ELEMENT[b.dtype] - BYTES_PER_ELEMENT[a.dtype] || (a.name < b.name ? -1 : 1));

  const header: [string, unknown][] = [['__metadata__', options.metadata ?? { format: 'pt' }]];
  let offset = 0;
  for (const { name, tensor, dtype } of entries) {
    if (name === '__metadata__') throw new QuerentError('QRT_USAGE', 'A tensor cannot be called __metadata__.', { fix: 'Rename it.' });
    const end = offset + elementCount(tensor.shape) * BYTES_PER_ELEMENT[dtype];
    header.push([name, { dtype: SAFETENSORS_NAMES[dtype], shape: tensor.shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  await writeFileAtomic(file, pieces(headerBytes(Object.fromEntries(header)), entries));
}

interface Entry {
  readonly name: string;
  readonly tensor: ParameterData;
  readonly dtype: DType;
}

async function* pieces(header: Uint8Array, entries: readonly Entry[]): AsyncGenerator<Uint8Array> {
  yield header;
  for (const { tensor, dtype } of entries) {
    const { data } = convert(isFileTensor(tensor) ? await loadTensor(tensor) : tensor, dtype);
    yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
}

/** Length, JSON, blanks up to a multiple of 8: how a file begins. */
export function headerBytes(header: unknown): Uint8Array {
  const json = Buffer.from(JSON.stringify(header), 'utf8');
  const bytes = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(bytes.length - 8), true);
  bytes.set(json, 8);
  return bytes;
}

function storedDType(dtype: DType, wanted: StoredDType | undefined): DType {
  return wanted !== undefined && FLOATS.includes(dtype) ? wanted : dtype;
}

function convert(tensor: TensorData, dtype: DType): TensorData {
  if (tensor.dtype === dtype) return tensor;
  const wide = asFloat32(tensor);
  if (dtype === 'float16') return { dtype, shape: wide.shape, data: float32ToFloat16(wide.data) };
  if (dtype === 'bfloat16') return { dtype, shape: wide.shape, data: float32ToBfloat16(wide.data) };
  return wide;
}
