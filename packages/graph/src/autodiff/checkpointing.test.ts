import type { Graph, Tensor, TensorData } from '@querent/core';
import { elementCount, float32, int64 } from '@querent/core';
import { expect, test } from 'vitest';
import { runOnnx } from '../../test/onnxruntime.ts';
import { createGraph } from '../graph.ts';
import { crossEntropy, embedding, layerNorm, linear, linearWith, mergeHeads, scaledDotProductAttention, splitHeads } from '../layers.ts';
import { writeOnnx } from '../onnx/write.ts';
import { add, cast, gelu, mul, sub } from '../ops/elementwise.ts';
import { unsqueeze } from '../ops/shaping.ts';
import type { CheckpointExecutables } from './checkpointing.ts';
import { checkpoint, runCheckpointed } from './checkpointing.ts';
import { grad } from './grad.ts';

const WIDTH = 8;

/** Three blocks over embeddings, a mask that all of them read, a memory that the later ones read, a tied head. */
function transformer() {
  const g = createGraph('transformer');
  const ids = g.input('ids', 'int64', ['batch', 'tokens']);
  const labels = g.input('labels', 'int64', ['batch', 'tokens']);
  const mask = g.input('mask', 'int64', ['batch', 'tokens']);
  const bias = unsqueeze(mul(sub(1, cast(mask, 'float32')), -1e4), [1, 2]); // [batch, 1, 1, tokens]
  const embedded = embedding(g.scope('embedding'), ids, 11, WIDTH);
  const block = (name: string, x: Tensor, memory: Tensor): Tensor => {
    const scope = g.scope(name);
    const normal = layerNorm(scope.scope('norm'), x, 1e-5);
    const q = splitHeads(linear(scope.scope('q'), normal, WIDTH), 2);
    const [k, v] = ['k', 'v'].map((part) => splitHeads(linear(scope.scope(part), memory, WIDTH), 2));
    const attended = add(x, linear(scope.scope('o'), mergeHeads(scaledDotProductAttention(q, k!, v!, { mask: bias }).output), WIDTH));
    return add(attended, linear(scope.scope('down'), gelu(linear(scope.scope('up'), attended, 16)), WIDTH));
  };
  const first = block('first', embedded, embedded);
  const second = block('second', first, first);
  const third = block('third', second, first); // reads the first cut once more
  const { loss } = crossEntropy(linearWith(third, g.graph.parameters.get('embedding.weight')!.tensor, null), labels);
  g.parameter('unused', [2]);
  return { g, loss, cuts: [embedded, first, second] };
}

const parametersOf = (graph: Graph): Record<string, TensorData> =>
  Object.fromEntries([...graph.parameters.values()].map(({ name, shape }, n) => [name, float32(shape, Array.from({ length: elementCount(shape) }, (_, i) => Math.sin(i * 1.7 + n) / 2))]));
const FEEDS = { ids: int64([2, 3], [1, 2, 3, 4, 5, 6]), labels: int64([2, 3], [2, 3, -100, 0, 10, 1]), mask: int64([2, 3], [1, 1, 0, 1, 1, 1]) };

/** onnxruntime with every parameter as an input; `ran` notes the order. */
function executable(graph: Graph, ran: string[] = []): NonNullable<CheckpointExecutables['forward']> {
  const bytes = writeOnnx(graph);
  const ports = ([name, { dtype, shape }]: readonly [string, Pick<Tensor, 'dtype' | 'shape'>]) => ({ name, dtype, shape });
  return {
    inputs: [...graph.inputs.map((input) => ports([input.name, input])), ...[...graph.parameters].map(ports)],
    outputs: [...graph.outputs].map(ports),
    run: (feeds) => (ran.push(graph.name), runOnnx(bytes, { ...feeds })),
  };
}

function compiled(graph: Graph | null, ran?: string[]): CheckpointExecutables['forward'] {
  return graph === null ? null : executable(graph, ran);
}

test('segments give the losses and gradients of the graph in one piece', async () => {
  const { g, loss, cuts } = transformer();
  const trained = [...g.graph.parameters.keys()];
  const segments = checkpoint(loss, trained, cuts);
  const ran: string[] = [];
  const feeds = { ...FEEDS, ...parametersOf(g.graph) };
  const pieces = await runCheckpointed(segments.map(({ forward, backward }) => ({ forward: compiled(forward, ran), backward: compiled(backward, ran) })), feeds);
  expect(ran).toEqual(['forward-0', 'forward-1', 'forward-2', 'backward-3', 'backward-2', 'backward-1', 'backward-0'].map((name) => `transformer/${name}`));

  grad(loss, trained.map((name) => g.graph.parameters.get(name)!.tensor)).forEach((gradient, i) => g.output(`grad/${trained[i]}`, gradient));
  g.output('loss', loss);
  const whole = await executable(g.graph).run(feeds);
  expect(Object.keys(pieces).sort()).toEqual(Object.keys(whole).sort());
  for (const [name, { shape, data }] of Object.entries(whole)) {
    expect(pieces[name]!.shape, name).toEqual(shape);
    const largest = Math.max(1e-3, ...Array.from(data, (x) => Math.abs(Number(x))));
    data.forEach((x, i) => expect(Math.abs(Number(x) - Number(pieces[name]!.data[i])) / largest, `${name}[${i}]`).toBeLessThan(1e-5));
  }
});

test('each segment holds only its own nodes and parameters', () => {
  const { g, loss, cuts } = transformer();
  const segments = checkpoint(loss, [...g.graph.parameters.keys()], cuts);
  const total = g.graph.nodes.filter((node) => node.opType === 'Gemm').length;
  const gemms = (graph: Graph | null): number => graph?.nodes.filter((node) => node.opType === 'Gemm').length ?? 0;
  expect(segments.map(({ forward }) => gemms(forward))).toEqual([0, 6, 6, 0]); // six linear layers a block
  expect(total).toBe(3 * 6 + 1);
  expect([...segments[1]!.backward!.parameters.keys()].every((name) => name.startsWith('first.'))).toBe(true);
  expect([...segments[2]!.backward!.parameters.keys()].every((name) => name.startsWith('second.'))).toBe(true);
  expect(segments[3]!.backward!.inputs.map(({ name }) => name).sort()).toEqual(['cut/1', 'cut/2', 'ids', 'labels', 'mask']); // ids for their sizes
  expect([...segments[3]!.backward!.outputs.keys()].filter((name) => !name.startsWith('grad/third')).sort()).toEqual(['grad/cut/1', 'grad/cut/2', 'grad/embedding.weight', 'grad/unused', 'loss']);
});

test('a frozen front runs forward only', async () => {
  const { g, loss, cuts } = transformer();
  const trained = [...g.graph.parameters.keys()].filter((name) => name.startsWith('third.'));
  const segments = checkpoint(loss, trained, cuts);
  expect(segments.map(({ backward }) => backward === null)).toEqual([true, true, true, false]);
  const pieces = await runCheckpointed(segments.map(({ forward, backward }) => ({ forward: compiled(forward), backward: compiled(backward) })), { ...FEEDS, ...parametersOf(g.graph) });
  expect(Object.keys(pieces).sort()).toEqual([...trained.map((name) => `grad/${name}`), 'loss'].sort());
});

test('a tensor that crosses a boundary without being a cut is named', () => {
  const { g, loss, cuts } = transformer();
  expect(() => checkpoint(loss, [...g.graph.parameters.keys()], [cuts[0]!, cuts[2]!])).toThrow(expect.objectContaining({ code: 'QRT_GRAPH_GRADIENT', message: expect.stringContaining(cuts[1]!.name) }));
});

test('a boundary may be of several tensors, and other losses may be named', () => {
  const { g, loss, cuts } = transformer();
  const segments = checkpoint(loss, [...g.graph.parameters.keys()], [[cuts[1]!, cuts[2]!]], { losses: { double: mul(loss, 2) } });
  expect([...segments[0]!.forward!.outputs.keys()]).toEqual(['cut/0', 'cut/1']);
  expect([...segments[1]!.backward!.outputs.keys()]).toEqual(expect.arrayContaining(['loss', 'double']));
});
