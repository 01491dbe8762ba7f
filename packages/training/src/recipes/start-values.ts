/** What a run's trained weights are before its first step. */
import type { BridgePlugin, ParameterSet, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import { randomAt } from '../data/batches.ts';
import { initialise } from '../training-graph.ts';
import type { PreparedRun } from './common.ts';

/**
 * Given weights where there are any; fresh ones elsewhere, those that start as copies copied (the query FFN of the text's).
 * @throws QuerentError QRT_CHECKPOINT_MISMATCH with all given weights that have another shape.
 */
export function startValues(graph: PreparedRun['graph'], seed: number, plugin: Pick<BridgePlugin, 'initialisedAs'>, initial: ParameterSet = new Map()): Map<string, TensorData<'float32'>> {
  const start = initialise(graph.graph, graph.trained, randomAt(seed, 0, 2), initial);
  const misshaped: string[] = [];
  for (const name of graph.trained) {
    const given = initial.get(name);
    if (given === undefined || !('data' in given) || !(given.data instanceof Float32Array)) continue;
    const { shape } = graph.graph.parameters.get(name)!;
    if (shape.join() !== given.shape.join()) misshaped.push(`${name} is [${given.shape.join(', ')}], the recipe makes it [${shape.join(', ')}]`);
    start.set(name, { dtype: 'float32', shape, data: given.data.slice() });
  }
  if (misshaped.length > 0) {
    throw new QuerentError('QRT_CHECKPOINT_MISMATCH', `The weights to begin with do not fit: ${misshaped.slice(0, 5).join('; ')}${misshaped.length > 5 ? `; and ${misshaped.length - 5} more` : ''}.`, {
      fix: 'Begin with a folder that was trained with the same sizes, or without one.',
      details: { misshaped },
    });
  }
  for (const name of graph.trained) {
    const source = plugin.initialisedAs?.(name);
    const copied = source === undefined || initial.has(name) ? undefined : start.get(source);
    if (copied !== undefined) start.get(name)!.data.set(copied.data);
  }
  return start;
}
