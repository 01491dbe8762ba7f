import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { float32, int64 } from '@querent/core';
import type { ParameterData } from '@querent/core';
import { expect, test } from 'vitest';
import { createGraph } from '../graph.ts';
import { layerNorm, linear } from '../layers.ts';
import { add, mul } from '../ops/elementwise.ts';
import { softmaxCrossEntropyLoss } from '../ops/neural.ts';
import { reshape } from '../ops/shaping.ts';
import { runOnnx } from '../../test/onnxruntime.ts';
import { decodeModel } from './decode.ts';
import { writeOnnx } from './write.ts';

function network() {
  const g = createGraph('network');
  const x = g.input('x', 'float32', ['batch', 'tokens', 3]);
  const hidden = layerNorm(g.scope('norm'), x, 1e-5);
  const y = linear(g.scope('head'), hidden, 2);
  g.output('y', y);
  g.output('again', y);
  g.output('flat', reshape(mul(y, 2), [-1, 2]));
  g.output('unused', linear(g.scope('other'), x, 5));
  g.output('copy', x);
  return g.graph;
}

const WEIGHTS = new Map<string, ParameterData>([
  ['norm.weight', float32([3], [1, 2, 3])],
  ['norm.bias', float32([3], [0, 0, 1])],
  ['head.weight', float32([2, 3], [1, 0, 0, 0, 1, -1])],
  ['head.bias', float32([2], [0.5, -0.5])],
]);
const X = float32([1, 2, 3], [1, 2, 3, -1, 0, 4]);

/** By hand: normalised, scaled, and through the head. */
const expected = [-0.72474, -5.17423, -0.42582, -6.59204];

test('onnxruntime runs a written graph; outputs have their public names', async () => {
  const bytes = writeOnnx(network(), { parameters: WEIGHTS, outputs: ['y', 'again', 'flat', 'copy'] });
  const results = await runOnnx(bytes, { x: X });
  expect(Object.keys(results).sort()).toEqual(['again', 'copy', 'flat', 'y']);
  const y = Array.from(results['y']!.data as Float32Array);
  y.forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 3));
  expect(results['y']!.shape).toEqual([1, 2, 2]);
  expect(results['flat']!.shape).toEqual([2, 2]);
  expect(Array.from(results['again']!.data as Float32Array)).toEqual(y);
  expect(Array.from(results['copy']!.data as Float32Array)).toEqual(Array.from(X.data));
});

test('parameters without bytes and those in asInputs are graph inputs', async () => {
  expect(decodeModel(writeOnnx(network())).graph.inputs.map(({ name }) => name)).toContain('head.weight');
  const bytes = writeOnnx(network(), { parameters: WEIGHTS, asInputs: new Set(['head.weight']), outputs: ['y'] });
  const graph = decodeModel(bytes).graph;
  expect(graph.inputs.map(({ name }) => name)).toEqual(['x', 'head.weight']);
  const weight = float32([2, 3], [1, 0, 0, 0, 1, -1]);
  const results = await runOnnx(bytes, { x: X, 'head.weight': weight });
  expect((results['y']!.data as Float32Array)[0]).toBeCloseTo(expected[0]!, 3);
});

test('only what the chosen outputs need is written', () => {
  const { nodes, initializers } = decodeModel(writeOnnx(network(), { parameters: WEIGHTS, outputs: ['y'] })).graph;
  expect(nodes.filter(({ opType }) => opType === 'Gemm')).toHaveLength(1);
  expect(initializers.map(({ name }) => name)).not.toContain('other.weight');
  expect(nodes.find(({ opType }) => opType === 'LayerNormalization')?.outputs).toHaveLength(1);
});

test('half-precision weights keep their bytes and are cast', async () => {
  const half = new Map(WEIGHTS);
  half.set('head.bias', { dtype: 'float16', shape: [2], data: Uint16Array.of(0x3800, 0xb800) });
  half.set('norm.weight', { dtype: 'bfloat16', shape: [3], data: Uint16Array.of(0x3f80, 0x4000, 0x4040) });
  const bytes = writeOnnx(network(), { parameters: half, outputs: ['y'] });
  expect(decodeModel(bytes).graph.initializers.map(({ name, dataType }) => [name, dataType])).toContainEqual(['head.bias.stored', 10]);
  const results = await runOnnx(bytes, { x: X });
  Array.from(results['y']!.data as Float32Array).forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 3));
});

test('weights in a file are named relative to the model and mapped by onnxruntime', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'querent-write-'));
  try {
    const weight = float32([2, 3], [1, 0, 0, 0, 1, -1]);
    const file = join(folder, 'weights.bin');
    writeFileSync(file, new Uint8Array([7, ...new Uint8Array(weight.data.buffer)]));
    const parameters = new Map(WEIGHTS);
    parameters.set('head.weight', { dtype: 'float32', shape: [2, 3], file, offset: 1, byteLength: 24 });
    const bytes = writeOnnx(network(), { parameters, outputs: ['y'], externalRoot: folder });
    writeFileSync(join(folder, 'model.onnx'), bytes);
    const results = await runOnnx(join(folder, 'model.onnx'), { x: X });
    expect((results['y']!.data as Float32Array)[0]).toBeCloseTo(expected[0]!, 3);
    expect(() => writeOnnx(network(), { parameters, outputs: ['y'], externalRoot: join(folder, 'elsewhere') })).toThrow(/not below/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('missing and misshaped parameters are named together', () => {
  const wrong = new Map(WEIGHTS);
  wrong.set('head.bias', float32([3], [1, 2, 3]));
  expect(() => writeOnnx(network(), { parameters: wrong })).toThrow(
    expect.objectContaining({ code: 'QRT_CHECKPOINT_MISMATCH', message: expect.stringMatching(/head\.bias is \[3\].*other\.weight .*missing/) }),
  );
});

test('an unknown output, an old opset and a name for two things are refused', () => {
  expect(() => writeOnnx(network(), { outputs: ['z'] })).toThrow(/no output z/);
  expect(() => writeOnnx(network(), { opset: 17 })).toThrow(/21 or later/);
  const g = createGraph('clash');
  g.output('x', add(g.input('x', 'float32', [2]), 1));
  expect(() => writeOnnx(g.graph)).toThrow(/both an input and an output x/);
});

test('an inner tensor may have the name of an output', async () => {
  const g = createGraph('inner');
  const x = g.input('x', 'float32', [2]);
  const first = add(x, 1);
  g.output(first.name, mul(first, 3));
  const results = await runOnnx(writeOnnx(g.graph), { x: float32([2], [1, 2]) });
  expect(Array.from(results[first.name]!.data as Float32Array)).toEqual([6, 9]);
});

test('symbolic dims become dim_params, unused optional outputs are left out', async () => {
  const g = createGraph('loss');
  const scores = g.input('scores', 'float32', ['rows', 4]);
  const [loss] = softmaxCrossEntropyLoss(scores, g.input('labels', 'int64', ['rows']));
  g.output('loss', loss);
  const bytes = writeOnnx(g.graph, { opset: 21 });
  expect(decodeModel(bytes).graph.inputs[0]!.shape).toEqual(['rows', 4]);
  expect(decodeModel(bytes).graph.nodes[0]!.outputs).toEqual(['loss']);
  const results = await runOnnx(bytes, { scores: float32([1, 4], [0, 0, 0, 0]), labels: int64([1], [2]) });
  expect((results['loss']!.data as Float32Array)[0]).toBeCloseTo(Math.log(4), 5);
});
