/** The engine as a plugin value: `onnxruntime`, or `onnxruntime:cuda` and so on. */
import type { BackendStatus, EnginePlugin } from '@querent/core';
import { defineEngine, isQuerentError } from '@querent/core';
import { createGraph, identity } from '@querent/graph';
import { createOnnxEngine } from './engine.ts';
import { createEngine } from './host.ts';
import { PROVIDERS } from './providers.ts';

const onnxruntime: EnginePlugin = defineEngine({
  name: 'onnxruntime',
  description: 'Runs graphs on onnxruntime-node, on a worker thread per device.',
  backends: PROVIDERS,
  create: async (options) => createEngine(options),
  probe: () => Promise.all(PROVIDERS.map(probe)),
});
export default onnxruntime;

/** Whether a session of one node starts there: being compiled in says nothing about drivers. */
async function probe(backend: string): Promise<BackendStatus> {
  const g = createGraph('probe');
  g.output('y', identity(g.input('x', 'float32', [1])));
  try {
    await using engine = createOnnxEngine({ backend, threads: 1 });
    await using _executable = await engine.compile(g.graph, new Map());
    return { backend, available: true };
  } catch (error) {
    if (!isQuerentError(error)) throw error;
    return { backend, available: false, note: `${error.message} ${error.fix ?? ''}`.trim() };
  }
}
