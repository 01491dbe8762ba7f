/** What `grad` does with a whole graph; the rules themselves are in `rules.test.ts`. */
import type { GraphScope, Tensor, TensorData } from '@querent/core';
import { elementCount, float32 } from '@querent/core';
import { expect, test } from 'vitest';
import { createGraph } from '../graph.ts';
import { layerNorm, linear } from '../layers.ts';
import { readOnnx } from '../onnx/read.ts';
import { writeOnnx } from '../onnx/write.ts';
import { add, gelu, mul, relu, sub } from '../ops/elementwise.ts';
import { layerNormalization, maxPool } from '../ops/neural.ts';
import { int, intVector, op1, text } from '../ops/op.ts';
import { argMax, reduceMean, reduceSum } from '../ops/reductions.ts';
import { concat, slice } from '../ops/shaping.ts';
import { interpret } from '../testing/reference.ts';
import { grad } from './grad.ts';

const sum = (x: Tensor): Tensor => reduceSum(x, x.shape.map((_, axis) => axis), false);
const wave = (shape: readonly number[], phase = 0): TensorData<'float32'> =>
  float32(shape, Array.from({ length: elementCount(shape) }, (_, i) => Math.sin(1.3 * i + phase)));
const count = (g: GraphScope, opType: string): number => g.graph.nodes.filter((node) => node.opType === opType).length;

/** Three linear layers; `trained` says which of them learn. Returns the Gemms of the backward part. */
function backwardGemms(trained: readonly string[], wrtInput = false): number {
  const g = createGraph('mlp');
  const input = g.input('x', 'float32', ['batch', 4]);
  const layer = (name: string, x: Tensor): Tensor => linear(g.scope(name), x, 4);
  const loss = sum(layer('third', gelu(layer('second', gelu(layer('first', input))))));
  const wrt = [...g.graph.parameters.values()].filter(({ name }) => trained.some((part) => name === `${part}.weight`)).map(({ tensor }) => tensor);
  const before = count(g, 'Gemm');
  grad(loss, wrtInput ? [...wrt, input] : wrt);
  return count(g, 'Gemm') - before;
}

test('a frozen layer passes gradients on and computes none for its weights', () => {
  expect(backwardGemms(['first', 'second', 'third'])).toBe(3 + 2); // three weights, two hidden states
  expect(backwardGemms(['first'])).toBe(1 + 2);
  expect(backwardGemms(['second'])).toBe(1 + 1);
  expect(backwardGemms([], true)).toBe(3);
});

test('nothing is computed for layers before the first one that learns', () => {
  expect(backwardGemms(['third'])).toBe(1);
});

test('the gradient of a bias alone needs no Gemm for its layer', () => {
  const g = createGraph('bias');
  const y = linear(g.scope('layer'), g.input('x', 'float32', ['batch', 4]), 3);
  const before = count(g, 'Gemm');
  grad(sum(mul(y, y)), [g.graph.parameters.get('layer.bias')!.tensor]);
  expect(count(g, 'Gemm')).toBe(before);
});

test('a tensor that is used several times gets the sum', () => {
  const g = createGraph('several');
  const x = g.input('x', 'float32', [3]);
  const loss = sum(add(mul(x, mul(x, x)), sub(mul(x, 5), concat([slice(x, 0, 1, 3), slice(x, 0, 0, 1)], 0))));
  g.output('dx', grad(loss, [x])[0]!);
  const { data } = interpret(g.graph, { x: float32([3], [1, -2, 3]) }).get('dx')!;
  expect([...data]).toEqual([3 + 4, 12 + 4, 27 + 4]);
});

test('what the loss does not depend on gets zeros of its shape, and a repeated request the same tensor', () => {
  const g = createGraph('unused');
  const [x, free] = [g.input('x', 'float32', ['batch', 2]), g.input('free', 'float32', ['batch', 3])];
  const unused = g.parameter('unused', [2, 2]);
  const [dx, dfree, dunused, again] = grad(sum(x), [x, free, unused, x]);
  g.output('dx', dx!);
  g.output('dfree', dfree!);
  g.output('dunused', dunused!);
  expect(again!.shape).toEqual(['batch', 2]);
  const outputs = interpret(g.graph, { x: wave([4, 2]), free: wave([4, 3]) }, new Map([['unused', wave([2, 2])]]));
  expect([...outputs].map(([, { shape, data }]) => [shape, [...new Set(data)]])).toEqual([[[4, 2], [1]], [[4, 3], [0]], [[2, 2], [0]]]);
});

test('gradients with respect to an inner tensor stop there', () => {
  const g = createGraph('inner');
  const hidden = linear(g.scope('first'), g.input('x', 'float32', [2, 3]), 3);
  const loss = sum(linear(g.scope('second'), hidden, 2));
  const before = count(g, 'Gemm');
  expect(grad(loss, [hidden])[0]!.shape).toEqual([2, 3]);
  expect(count(g, 'Gemm')).toBe(before + 1);
});

const refused = expect.objectContaining({ code: 'QRT_GRAPH_GRADIENT' });

test('a loss that is no scalar is refused', () => {
  const g = createGraph('vector');
  const x = g.input('x', 'float32', [3]);
  expect(() => grad(mul(x, 2), [x])).toThrow(refused);
});

test('an operator without a rule is refused by name, but only on the way to what learns', () => {
  const g = createGraph('ruleless');
  const x = g.input('x', 'float32', [1, 1, 4, 4]);
  const pooled = maxPool(x, { kernel: [2, 2] });
  const w = g.parameter('w', [2, 2]);
  const loss = sum(mul(pooled, w));
  expect(() => grad(loss, [x])).toThrow(/MaxPool/);
  expect(() => grad(loss, [x])).toThrow(refused);
  expect(grad(loss, [w])[0]!.shape).toEqual([2, 2]);
});

test('forms of an operator that a rule does not cover are refused, not computed wrongly', () => {
  const forms: ((x: Tensor) => Tensor)[] = [
    (x) => op1('Pad', [x, intVector(x, [1, 0, 0, 1])], { attributes: { mode: text('reflect') } }),
    (x) => op1('Max', [x, mul(x, 2), mul(x, 3)], { outputs: [x] }),
    (x) => op1('ScatterElements', [x, argMax(x, 0, true), x], { attributes: { axis: int(0), reduction: text('mul') } }),
  ];
  for (const form of forms) {
    const x = createGraph('form').input('x', 'float32', [4, 4]);
    const loss = sum(form(x));
    expect(() => grad(loss, [x])).toThrow(refused);
  }
});

test('a loss that reads the mean of a LayerNormalization is refused', () => {
  const g = createGraph('statistics');
  const x = g.input('x', 'float32', [2, 4]);
  const y = layerNormalization(x, g.parameter('weight', [4]), null, 1e-5);
  const mean = g.graph.producer(y)!.outputs[1]!;
  expect(() => grad(add(sum(y), sum(mean)), [x])).toThrow(refused);
});

test('a graph that was read from a file has the gradients of the graph that was written, symbolic slices included', () => {
  const g = createGraph('slices');
  const [x, y] = [g.input('x', 'float32', ['queries', 3]), g.input('y', 'float32', ['tokens', 3])];
  const joined = layerNorm(g.scope('norm'), concat([x, y], 0), 1e-5);
  const words = slice(joined, 0, 'queries', Infinity);
  const queries = slice(joined, 0, 0, 'queries');
  g.output('loss', add(reduceMean(mul(relu(words), words), [0, 1], false), sum(mul(queries, queries))));
  const parameters = new Map([['norm.weight', wave([3], 1)], ['norm.bias', wave([3], 2)]]);
  const feeds = { x: wave([2, 3]), y: wave([4, 3], 5) };
  const read = readOnnx(writeOnnx(g.graph));
  const gradients = [g.graph, read.graph].map((graph) => {
    const wrt = ['x', 'y', 'norm.weight'].map((name) => graph.inputs.find((input) => input.name === name) ?? graph.parameters.get(name)!.tensor);
    grad(graph.outputs.get('loss')!, wrt).forEach((gradient, i) => graph.outputs.set(`grad/${i}`, gradient));
    return [...interpret(graph, feeds, parameters)].map(([name, { shape, data }]) => [name, shape, [...data].map((value) => value.toFixed(9))]);
  });
  expect(gradients[1]).toEqual(gradients[0]);
});
