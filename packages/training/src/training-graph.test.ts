import type { GraphScope } from '@querent/core';
import { float32 } from '@querent/core';
import { createOnnxEngine } from '@querent/engine-onnx';
import { createGraph, linear, mul, reduceMean, reduceSum } from '@querent/graph';
import { expect, it } from 'vitest';
import { randomAt } from './data/batches.ts';
import { gradientOutputs, initialise, trainingGraph } from './training-graph.ts';

function twoLayers(): { g: GraphScope; loss: ReturnType<typeof reduceMean> } {
  const g = createGraph('two-layers');
  const hidden = linear(g.scope('first'), g.input('x', 'float32', ['batch', 3]), 4);
  const y = linear(g.scope('second'), hidden, 2);
  return { g, loss: reduceMean(mul(y, y), [0, 1], false) };
}

it('gives gradients of what learns, and none of what is frozen', () => {
  const { g, loss } = twoLayers();
  const graph = trainingGraph(g, { loss, loss_half: mul(loss, 0.5) }, (name) => name.startsWith('first.'));
  expect(graph.trained).toEqual(['first.weight', 'first.bias']);
  expect(graph.losses).toEqual(['loss', 'loss_half']);
  expect([...g.graph.outputs.keys()]).toEqual(['loss', 'loss_half', 'grad/first.weight', 'grad/first.bias']);
});

it('gives a large gradient in pieces, over memory in one', async () => {
  const [rows, width] = [7_001, 1_000]; // 28 MB
  const g = createGraph('large');
  const x = g.input('x', 'float32', [rows, 1]);
  const { graph, trained } = trainingGraph(g, { loss: reduceSum(mul(g.parameter('table', [rows, width]), x), [0, 1], false) }, () => true);
  expect([...graph.outputs.keys()]).toEqual(['loss', 'grad/table/0', 'grad/table/1']);
  const memory = new Float32Array(rows * width);
  await using engine = createOnnxEngine({ threads: 1 });
  await using executable = await engine.compile(graph, new Map(), { asInputs: trained });
  const feeds = { x: float32([rows, 1], Float32Array.from({ length: rows }, (_, row) => row)), table: float32([rows, width], new Float32Array(rows * width)) };
  await executable.run(feeds, { into: gradientOutputs([{ name: 'table', shape: [rows, width] }], [memory]) });
  expect(memory.every((value, i) => value === Math.floor(i / width))).toBe(true);
});

it('refuses to train nothing', () => {
  const { g, loss } = twoLayers();
  expect(() => trainingGraph(g, { loss }, () => false)).toThrow(expect.objectContaining({ code: 'QRT_GRAPH_GRADIENT' }));
});

it('draws the same start from the same seed, as the declarations say', () => {
  const g = createGraph('draws');
  g.parameter('zero', [3]);
  g.parameter('half', [2], { initialiser: { kind: 'constant', value: 0.5 } });
  g.parameter('normal', [400, 5], { initialiser: { kind: 'normal', std: 0.02 } });
  g.parameter('uniform', [400], { initialiser: { kind: 'uniform', bound: 0.1 } });
  const names = [...g.graph.parameters.keys()];
  const drawn = initialise(g.graph, names, randomAt(1));
  expect(initialise(g.graph, names, randomAt(1))).toEqual(drawn);
  expect(initialise(g.graph, names, randomAt(2))).not.toEqual(drawn);
  expect(drawn.get('zero')!.data).toEqual(new Float32Array(3));
  expect(drawn.get('half')!.data).toEqual(Float32Array.of(0.5, 0.5));
  const normal = drawn.get('normal')!.data;
  expect(Math.sqrt(normal.reduce((sum, value) => sum + value * value, 0) / normal.length)).toBeCloseTo(0.02, 2);
  expect(drawn.get('uniform')!.data.every((value) => Math.abs(value) <= 0.1)).toBe(true);
});

it('leaves out what is given, without changing whether others are drawn', () => {
  const { g } = twoLayers();
  const given = new Map([['first.weight', { dtype: 'float32', shape: [4, 3], data: new Float32Array(12) } as const]]);
  expect([...initialise(g.graph, ['first.weight', 'second.weight', 'no.such'], randomAt(1), given).keys()]).toEqual(['second.weight']);
});
