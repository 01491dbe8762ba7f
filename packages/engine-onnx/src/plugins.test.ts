import { float32 } from '@querent/core';
import { add, createGraph } from '@querent/graph';
import { expect, test } from 'vitest';
import onnxruntime from './plugins.ts';
import { availableProviders } from './providers.ts';

test('is an engine plugin that makes engines', async () => {
  expect(onnxruntime).toMatchObject({ kind: 'engine', name: 'onnxruntime', contract: 1 });
  expect(onnxruntime.backends[0]).toBe('cpu');
  await using engine = await onnxruntime.create({ inPlace: true, threads: 1 });
  const g = createGraph('more');
  g.output('y', add(g.input('x', 'float32', ['n']), 1));
  await using executable = await engine.compile(g.graph, new Map());
  expect((await executable.run({ x: float32([1], [1]) }))['y']).toEqual(float32([1], [2]));
});

test('says of each backend whether it works, and why not', async () => {
  const statuses = await onnxruntime.probe!();
  expect(statuses.map(({ backend }) => backend)).toEqual(onnxruntime.backends);
  expect(statuses[0]).toEqual({ backend: 'cpu', available: true });
  for (const { available, note } of statuses) if (!available) expect(note).toMatch(/not available here: .+ This build knows: cpu|does not have it/s);
});

test('a backend that is compiled in but does not start is QRT_ENGINE_PROVIDER, never cpu in silence', async () => {
  const missing = (await onnxruntime.probe!()).filter(({ available, backend }) => !available && availableProviders().some(({ name }) => name === backend));
  const g = createGraph('more');
  g.output('y', add(g.input('x', 'float32', ['n']), 1));
  for (const { backend } of missing) {
    await using engine = await onnxruntime.create({ backend, inPlace: true });
    await expect(engine.compile(g.graph, new Map())).rejects.toMatchObject({ code: 'QRT_ENGINE_PROVIDER', details: { provider: backend } });
  }
});
