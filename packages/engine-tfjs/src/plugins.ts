/** The engine as a plugin value: `tfjs`, or `tfjs:node`, `tfjs:wasm` and so on. */
import type { EnginePlugin } from '@querent/core';
import { defineEngine, isQuerentError } from '@querent/core';
import { BACKENDS, openBackend } from './backends.ts';
import { createTfjsEngine } from './engine.ts';

const tfjs: EnginePlugin = defineEngine({
  name: 'tfjs',
  description: 'Runs graphs on TensorFlow.js: its native addon (CPU or CUDA), WebGPU, WASM or plain JavaScript.',
  backends: ['auto', ...BACKENDS],
  create: createTfjsEngine,
  async probe() {
    const found = [];
    for (const backend of BACKENDS) {
      try {
        found.push({ backend, available: true, note: (await openBackend(backend)).backend.about });
      } catch (error) {
        if (!isQuerentError(error)) throw error;
        found.push({ backend, available: false, note: `${error.message} ${error.fix ?? ''}`.trim() });
      }
    }
    return found;
  },
});
export default tfjs;
