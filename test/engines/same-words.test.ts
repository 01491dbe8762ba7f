/** The same mistake in a run has the same code and the same words on both engines. */
import { float32, isQuerentError, zeros } from '@querent/core';
import type { Engine, RunOptions, TensorData } from '@querent/core';
import { createOnnxEngine } from '@querent/engine-onnx';
import { createTfjsEngine } from '@querent/engine-tfjs';
import { add, createGraph } from '@querent/graph';
import { expect, test } from 'vitest';

const engines: readonly Engine[] = [createOnnxEngine(), await createTfjsEngine({ backend: 'cpu' })];

async function wordsOf(engine: Engine, feeds: Readonly<Record<string, TensorData>>, options: RunOptions): Promise<unknown> {
  const g = createGraph('sum');
  g.output('y', add(g.input('a', 'float32', ['n']), g.input('b', 'float32', ['n'])));
  await using executable = await engine.compile(g.graph, new Map());
  return executable.run(feeds, options).then(() => 'it ran', (error: unknown) => isQuerentError(error) && [error.code, error.message, error.fix]);
}

const [a, b] = [float32([2], [1, 2]), float32([2], [3, 4])];
test.each<[string, Record<string, TensorData>, RunOptions]>([
  ['a feed is missing', { a }, {}],
  ['feeds disagree', { a, b: zeros('float32', [3]) }, {}],
  ['a feed is of another dtype', { a, b: zeros('int64', [2]) }, {}],
  ['a feed is not known', { a, b, c: a }, {}],
  ['an output is not known', { a, b }, { outputs: ['z'] }],
  ['memory for an output does not fit', { a, b }, { into: { y: zeros('float32', [5]) } }],
])('%s', async (_, feeds, options) => {
  const [first, second] = [await wordsOf(engines[0]!, feeds, options), await wordsOf(engines[1]!, feeds, options)];
  expect(first).toEqual(['QRT_ENGINE_FEED', expect.stringContaining('Graph sum: '), expect.any(String)]);
  expect(second).toEqual(first);
});
