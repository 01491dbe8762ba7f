import { allocate, elementCount, float32, int64 } from '@querent/core';
import type { Attribute, DType, Node, TensorData } from '@querent/core';
import { describe, expect, test } from 'vitest';
import { runOnnx } from '../../test/onnxruntime.ts';
import { createGraph } from '../graph.ts';
import { linear } from '../layers.ts';
import { add, erf as erfOf, mul, tanh } from '../ops/elementwise.ts';
import { float, int, ints, op, text } from '../ops/op.ts';
import { reduceSum } from '../ops/reductions.ts';
import { writeOnnx } from '../onnx/write.ts';
import { erf } from './reference/elementwise.ts';
import { fromTensorData } from './reference/tensor.ts';
import { REFERENCE_KERNELS, interpret } from './reference.ts';

interface Case {
  readonly op: string;
  readonly inputs: readonly (TensorData | null)[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly domain?: string;
  /** How many outputs to compare. Default 1. */
  readonly outputs?: number;
  readonly tolerance?: number;
}

// A linear congruential generator (Numerical Recipes): the same inputs at each run.
let seed = 12345;
function uniform(low: number, high: number): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return low + ((high - low) * seed) / 2 ** 32;
}

/** Random float32, by default in [-2, 2]. */
function f(...shape: number[]): TensorData<'float32'> {
  return float32(shape, Array.from({ length: elementCount(shape) }, () => uniform(-2, 2)));
}

function positive(...shape: number[]): TensorData<'float32'> {
  return float32(shape, f(...shape).data.map((x) => Math.abs(x) + 0.1));
}

/** Random int64 in [low, high). */
function i(shape: readonly number[], low: number, high: number): TensorData<'int64'> {
  return int64(shape, Array.from({ length: elementCount(shape) }, () => Math.floor(uniform(low, high))));
}

const iv = (...values: number[]): TensorData<'int64'> => int64([values.length], values);
const is = (value: number): TensorData<'int64'> => int64([], [value]);
const fs = (value: number): TensorData<'float32'> => float32([], [value]);

function bools(...shape: number[]): TensorData<'bool'> {
  const data = allocate('bool', elementCount(shape)).map(() => (uniform(0, 1) < 0.5 ? 0 : 1));
  return { dtype: 'bool', shape, data };
}

const each = (names: readonly string[], inputs: () => readonly TensorData[], more: Partial<Case> = {}): Case[] =>
  names.map((name) => ({ op: name, inputs: inputs(), ...more }));
const ms = 'com.microsoft';

const CASES: readonly Case[] = [
  ...each(['Identity', 'Neg', 'Abs', 'Sign', 'Exp', 'Erf', 'Tanh', 'Sigmoid', 'Relu', 'Reciprocal', 'Sin', 'Cos', 'Floor', 'Ceil', 'Softplus',
    'LeakyRelu', 'Elu', 'HardSwish', 'HardSigmoid', 'Gelu'], () => [f(3, 4)]),
  ...each(['Sqrt', 'Log'], () => [positive(3, 4)]),
  { op: 'Round', inputs: [float32([7], [0.5, 1.5, 2.5, -0.5, -1.5, 1.2, -1.7])] },
  { op: 'Sign', inputs: [float32([3], [-2, 0, 3])] },
  { op: 'Gelu', inputs: [f(3, 4)], attributes: { approximate: text('tanh') } },
  { op: 'Gelu', inputs: [f(3, 4)], domain: ms },
  { op: 'QuickGelu', inputs: [f(3, 4)], domain: ms, attributes: { alpha: float(1.5) } },
  { op: 'FastGelu', inputs: [f(3, 4)], domain: ms },
  { op: 'FastGelu', inputs: [f(3, 4), f(4)], domain: ms },
  ...each(['Add', 'Sub', 'Mul', 'Min', 'Max'], () => [f(2, 1, 4), f(3, 1)]),
  ...each(['Add', 'Sub', 'Mul', 'Min', 'Max'], () => [i([3, 4], -9, 9), i([4], -9, 9)]),
  { op: 'Div', inputs: [f(2, 3), positive(3)] },
  { op: 'Div', inputs: [iv(7, -7, 9), iv(2, 2, -4)] },
  { op: 'Mod', inputs: [iv(7, -7, 9), iv(3, 3, -4)] },
  { op: 'Mod', inputs: [f(5), positive(5)], attributes: { fmod: int(1) } },
  { op: 'Pow', inputs: [positive(2, 3), f(3)] },
  { op: 'Pow', inputs: [f(4), fs(2)] },
  ...each(['Equal', 'Less', 'Greater', 'LessOrEqual', 'GreaterOrEqual'], () => [i([3, 4], 0, 3), i([4], 0, 3)]),
  ...each(['And', 'Or', 'Xor'], () => [bools(2, 3), bools(3)]),
  { op: 'Not', inputs: [bools(5)] },
  { op: 'Where', inputs: [bools(2, 1, 3), f(4, 1), fs(0.5)] },
  { op: 'Clip', inputs: [f(5), fs(-1), null] },
  { op: 'Clip', inputs: [f(5), fs(-0.5), fs(0.5)] },
  { op: 'Cast', inputs: [f(8)], attributes: { to: int(7) } },
  { op: 'Cast', inputs: [float32([3], [0, -0.5, 2])], attributes: { to: int(9) } },
  { op: 'Cast', inputs: [bools(4)], attributes: { to: int(1) } },

  { op: 'MatMul', inputs: [f(2, 1, 3, 4), f(5, 4, 2)] },
  { op: 'MatMul', inputs: [f(4), f(2, 4, 3)] },
  { op: 'MatMul', inputs: [f(3, 4), f(4)] },
  { op: 'FusedMatMul', domain: ms, inputs: [f(2, 4, 3), f(2, 5, 4)], attributes: { transA: int(1), transB: int(1), alpha: float(0.5) } },
  { op: 'FusedMatMul', domain: ms, inputs: [f(2, 3, 3, 4), f(5, 4)], attributes: { transB: int(1) } },
  { op: 'Gemm', inputs: [f(4, 3), f(5, 4), f(5)], attributes: { transA: int(1), transB: int(1), alpha: float(0.5), beta: float(2) } },
  { op: 'Gemm', inputs: [f(3, 4), f(4, 2)] },
  { op: 'Gemm', inputs: [f(3, 4), f(4, 2), f(3, 1)] },

  ...each(['ReduceSum', 'ReduceMean', 'ReduceMax', 'ReduceMin', 'ReduceProd', 'ReduceL1', 'ReduceL2', 'ReduceSumSquare', 'ReduceLogSumExp'],
    () => [f(2, 3, 4), iv(-1, 0)], { attributes: { keepdims: int(0) } }),
  { op: 'ReduceSum', inputs: [f(2, 3), iv(1)] },
  { op: 'ReduceSum', inputs: [f(2, 3)] },
  { op: 'ReduceSum', inputs: [f(2, 3)], attributes: { noop_with_empty_axes: int(1) } },
  { op: 'ReduceSum', inputs: [i([2, 3], -5, 5), iv(0)] },
  { op: 'ArgMax', inputs: [f(3, 5)], attributes: { axis: int(-1), keepdims: int(0) } },
  { op: 'ArgMax', inputs: [i([3, 5], 0, 2)] },
  { op: 'ArgMax', inputs: [i([3, 5], 0, 2)], attributes: { axis: int(1), select_last_index: int(1) } },
  { op: 'ArgMin', inputs: [f(3, 5)], attributes: { axis: int(1) } },
  { op: 'TopK', inputs: [f(3, 6), iv(3)], outputs: 2 },
  { op: 'TopK', inputs: [f(6, 2), iv(2)], outputs: 2, attributes: { axis: int(0), largest: int(0) } },
  { op: 'TopK', inputs: [i([2, 8], 0, 3), iv(5)], outputs: 2 },
  { op: 'CumSum', inputs: [f(3, 4), is(1)] },
  { op: 'CumSum', inputs: [f(3, 4), is(-2)], attributes: { exclusive: int(1), reverse: int(1) } },
  ...each(['Softmax', 'LogSoftmax'], () => [f(2, 3, 4)]),
  ...each(['Softmax', 'LogSoftmax'], () => [f(2, 3, 4)], { attributes: { axis: int(1) } }),

  { op: 'LayerNormalization', inputs: [f(2, 3, 4), f(4), f(4)], outputs: 3 },
  { op: 'LayerNormalization', inputs: [f(2, 3, 4), f(3, 4)], outputs: 3, attributes: { axis: int(1), epsilon: float(0.01) } },
  { op: 'RMSNormalization', inputs: [f(2, 3, 4), f(4)], attributes: { epsilon: float(0.01) } },
  { op: 'SimplifiedLayerNormalization', inputs: [f(2, 3, 4), f(4)], outputs: 2 },
  { op: 'BatchNormalization', inputs: [f(2, 3, 4, 5), f(3), f(3), f(3), positive(3)] },
  { op: 'SoftmaxCrossEntropyLoss', inputs: [f(4, 5), i([4], 0, 5)], outputs: 2 },
  { op: 'SoftmaxCrossEntropyLoss', inputs: [f(4, 5), iv(1, -100, 0, -100)], outputs: 2, attributes: { ignore_index: int(-100) } },
  { op: 'SoftmaxCrossEntropyLoss', inputs: [f(4, 5), iv(1, 3, 0, 3), positive(5)], outputs: 2, attributes: { ignore_index: int(0) } },
  { op: 'SoftmaxCrossEntropyLoss', inputs: [f(4, 5), iv(1, 3, 0, 3)], outputs: 2, attributes: { reduction: text('sum') } },
  { op: 'SoftmaxCrossEntropyLoss', inputs: [f(2, 5, 3), i([2, 3], 0, 5)], outputs: 2, attributes: { reduction: text('none') } },
  { op: 'Dropout', inputs: [f(2, 3)], outputs: 2 },

  { op: 'Reshape', inputs: [f(2, 3, 4), iv(0, -1, 2)] },
  { op: 'Reshape', inputs: [f(2, 0), iv(0, 7)], attributes: { allowzero: int(1) } },
  { op: 'Expand', inputs: [f(3, 1), iv(2, 1, 4)] },
  { op: 'Unsqueeze', inputs: [f(2, 3), iv(-1, 0)] },
  { op: 'Squeeze', inputs: [f(1, 2, 1), iv(-1)] },
  { op: 'Squeeze', inputs: [f(1, 2, 1)] },
  { op: 'Flatten', inputs: [f(2, 3, 4)], attributes: { axis: int(2) } },
  { op: 'Transpose', inputs: [f(2, 3, 4)], attributes: { perm: ints([2, 0, 1]) } },
  { op: 'Transpose', inputs: [f(2, 3, 4)] },
  { op: 'Concat', inputs: [f(2, 3), f(2, 1), f(2, 0)], attributes: { axis: int(-1) } },
  { op: 'Split', inputs: [f(2, 5), iv(1, 4)], outputs: 2, attributes: { axis: int(1) } },
  { op: 'Split', inputs: [f(5, 2)], outputs: 2, attributes: { num_outputs: int(2) } },
  { op: 'Slice', inputs: [f(4, 5), iv(1, -3), iv(100, -1)] },
  { op: 'Slice', inputs: [f(4, 5), iv(-1), iv(-100), iv(-1), iv(-2)] },
  { op: 'Slice', inputs: [f(4, 5), iv(3), iv(1), iv(0)] },
  { op: 'Tile', inputs: [f(2, 3), iv(2, 3)] },
  { op: 'Pad', inputs: [f(2, 3), iv(1, 0, 0, 2), fs(7)] },
  { op: 'Pad', inputs: [f(2, 3), iv(-1, 0, 1, 2)], attributes: { mode: text('constant') } },
  { op: 'Pad', inputs: [f(3, 4), iv(1, 2, 2, 1)], attributes: { mode: text('reflect') } },
  { op: 'Pad', inputs: [f(3, 4), iv(2, 1), null, iv(-1)], attributes: { mode: text('edge') } },
  { op: 'Trilu', inputs: [f(2, 3, 4)] },
  { op: 'Trilu', inputs: [f(2, 3, 4), is(-1)], attributes: { upper: int(0) } },
  { op: 'Shape', inputs: [f(2, 3, 4)] },
  { op: 'Shape', inputs: [f(2, 3, 4)], attributes: { start: int(-2), end: int(-1) } },
  { op: 'Size', inputs: [f(2, 3)] },
  { op: 'Range', inputs: [is(7), is(-2), is(-4)] },
  { op: 'Range', inputs: [fs(0.5), fs(2), fs(0.5)] },
  { op: 'ConstantOfShape', inputs: [iv(2, 3)] },
  { op: 'ConstantOfShape', inputs: [iv(2)], attributes: { value: { type: 'tensor', value: int64([1], [5]) } } },

  { op: 'Gather', inputs: [f(5, 3), i([2, 2], -5, 5)] },
  { op: 'Gather', inputs: [f(2, 5, 3), is(2)], attributes: { axis: int(-2) } },
  { op: 'GatherElements', inputs: [f(3, 4), i([2, 4], -3, 3)] },
  { op: 'GatherElements', inputs: [f(3, 4), i([3, 2], -4, 4)], attributes: { axis: int(1) } },
  { op: 'GatherND', inputs: [f(3, 4, 2), i([5, 2], 0, 3)] },
  { op: 'ScatterElements', inputs: [f(3, 4), int64([1, 4], [2, 0, 1, -1]), f(1, 4)] },
  { op: 'ScatterElements', inputs: [f(3, 4), i([3, 3], 0, 4), f(3, 3)], attributes: { axis: int(-1), reduction: text('add') } },
  { op: 'ScatterND', inputs: [f(4, 3), int64([2, 1], [3, -3]), f(2, 3)] },
  { op: 'ScatterND', inputs: [f(4, 3), int64([3, 2], [1, 2, 1, 2, 0, 0]), f(3)], attributes: { reduction: text('add') } },
  { op: 'TensorScatter', inputs: [f(2, 3, 5, 2), f(2, 3, 2, 2), iv(0, 3)] },
  { op: 'TensorScatter', inputs: [f(2, 5, 2), f(2, 2, 2), iv(4, 1)], attributes: { mode: text('circular') } },
  { op: 'OneHot', inputs: [iv(0, 2, -1, 5), is(4), float32([2], [-1, 3])] },
  { op: 'OneHot', inputs: [i([2, 3], 0, 4), is(4), float32([2], [0, 1])], attributes: { axis: int(1) } },

  { op: 'Conv', inputs: [f(2, 3, 7, 6), f(4, 3, 3, 2), f(4)], attributes: { strides: ints([2, 1]), pads: ints([1, 0, 2, 1]) } },
  { op: 'Conv', inputs: [f(1, 4, 6, 6), f(6, 2, 2, 2)], attributes: { group: int(2), dilations: ints([2, 1]) } },
  { op: 'Conv', inputs: [f(2, 3, 8), f(4, 3, 3)] },
  { op: 'ConvTranspose', inputs: [f(2, 3, 4, 3), f(3, 2, 3, 2), f(2)], attributes: { strides: ints([2, 1]), pads: ints([1, 0, 0, 1]), output_padding: ints([1, 0]) } },
  { op: 'ConvTranspose', inputs: [f(1, 4, 3, 3), f(4, 2, 2, 2)], attributes: { group: int(2), dilations: ints([2, 1]) } },
  { op: 'MaxPool', inputs: [f(1, 2, 5, 6)], attributes: { kernel_shape: ints([3, 2]), strides: ints([2, 2]), pads: ints([1, 0, 1, 0]) } },
  { op: 'AveragePool', inputs: [f(1, 2, 5, 6)], attributes: { kernel_shape: ints([3, 2]), strides: ints([2, 2]), pads: ints([1, 0, 1, 0]) } },
  { op: 'AveragePool', inputs: [f(1, 2, 5, 6)], attributes: { kernel_shape: ints([3, 3]), pads: ints([1, 1, 1, 1]), count_include_pad: int(1) } },
  ...each(['GlobalAveragePool', 'GlobalMaxPool'], () => [f(2, 3, 4, 5)]),

  { op: 'Resize', inputs: [f(1, 2, 4, 5), null, null, iv(1, 2, 7, 3)], attributes: { mode: text('cubic') } },
  { op: 'Resize', inputs: [f(1, 1, 4, 5), null, float32([4], [1, 1, 1.5, 2])], attributes: { mode: text('cubic'), coordinate_transformation_mode: text('align_corners') } },
  { op: 'Resize', inputs: [f(1, 1, 6, 6), null, null, iv(1, 1, 4, 9)], attributes: { mode: text('cubic'), antialias: int(1), cubic_coeff_a: float(-0.5) } },
  { op: 'Resize', inputs: [f(1, 1, 4, 4), null, null, iv(1, 1, 6, 3)], attributes: { mode: text('linear') } },
  { op: 'Resize', inputs: [f(1, 1, 8, 8), null, null, iv(1, 1, 3, 3)], attributes: { mode: text('linear'), antialias: int(1), exclude_outside: int(1) } },
  { op: 'Resize', inputs: [f(1, 1, 8, 8), null, null, iv(1, 1, 3, 3)], attributes: { mode: text('linear'), antialias: int(1) } },
  { op: 'Resize', inputs: [f(1, 1, 3, 4), null, null, iv(1, 1, 6, 8)], attributes: { mode: text('nearest'), coordinate_transformation_mode: text('asymmetric'), nearest_mode: text('floor') } },
];

/** The case as a graph whose outputs have the dtypes and shapes that the reference finds. */
function graphOf(sample: Case) {
  const g = createGraph(sample.op);
  const inputs = sample.inputs.map((data, n) => (data === null ? null : g.input(`x${n}`, data.dtype, data.shape)));
  const attributes = sample.attributes ?? {};
  const node: Node = { opType: sample.op, domain: sample.domain ?? '', name: 'probe', inputs, outputs: [], attributes };
  const count = sample.outputs ?? 1;
  const outputs = inputs.slice(0, count);
  const values = sample.inputs.map((data) => (data === null ? undefined : fromTensorData('x', data)));
  const probe = { ...node, outputs: Array.from({ length: count }, () => outputs[0]!) };
  const specs = REFERENCE_KERNELS[sample.op]!({ node: probe, inputs: values }).slice(0, count);
  op(sample.op, inputs, { domain: node.domain, attributes, outputs: specs }).forEach((tensor, n) => g.output(`y${n}`, tensor));
  const feeds = Object.fromEntries(sample.inputs.flatMap((data, n): [string, TensorData][] => (data === null ? [] : [[`x${n}`, data]])));
  return { graph: g.graph, feeds };
}

describe('every operator of the reference agrees with onnxruntime', () => {
  test.each(CASES.map((sample, n) => [`${n} ${sample.domain ?? ''} ${sample.op}`, sample] as const))('%s', async (_, sample) => {
    const { graph, feeds } = graphOf(sample);
    const expected = await runOnnx(writeOnnx(graph), feeds);
    for (const [name, { dtype, shape, data }] of interpret(graph, feeds)) {
      const there = expected[name]!;
      expect({ name, dtype: there.dtype, shape: [...there.shape] }).toEqual({ name, dtype, shape: [...shape] });
      const values = Array.from(there.data as ArrayLike<number | bigint>, Number);
      const scale = Math.max(1, ...values.map(Math.abs));
      // float32 arithmetic against float64: a few units in the last place of the largest value
      values.forEach((value, n) => expect(Math.abs(value - data[n]!) / scale, `${name}[${n}]: ${value} against ${data[n]}`).toBeLessThan(sample.tolerance ?? 5e-6));
    }
  });

  test('and no operator is left out', () => {
    expect(Object.keys(REFERENCE_KERNELS).filter((name) => !CASES.some((sample) => sample.op === name))).toEqual([]);
  });
});

test('erf is good to float64', () => {
  // Abramowitz and Stegun, table 7.1, and tails
  const known: [number, number][] = [[0.5, 0.520499877813], [1, 0.842700792949715], [2, 0.995322265018953], [3.5, 0.999999256901628], [-1, -0.842700792949715], [7, 1], [0, 0]];
  for (const [x, y] of known) expect(erf(x)).toBeCloseTo(y, 11);
});

test('float64 feeds are not rounded: a central difference is exact to nine digits', () => {
  const g = createGraph('difference');
  const x = g.input('x', 'float32', ['n', 3]);
  g.output('loss', reduceSum(mul(tanh(linear(g.scope('head'), x, 2)), erfOf(linear(g.scope('gate'), x, 2))), [0, 1], false));
  const parameters = new Map([...g.graph.parameters.values()].map(({ name, shape }) => [name, f(...shape)] as const));
  const at = (value: number): number => {
    const feed: TensorData = { dtype: 'float64', shape: [1, 3], data: Float64Array.of(value, 0.25, -0.5) };
    return interpret(g.graph, { x: feed }, parameters).get('loss')!.data[0]!;
  };
  const difference = (h: number): number => (at(0.3 + h) - at(0.3 - h)) / (2 * h);
  const best = (4 * difference(1e-3) - difference(2e-3)) / 3; // Richardson
  expect(Math.abs(difference(1e-5) - best)).toBeLessThan(1e-9);
});

test('a feed under a parameter’s name goes before the parameters; half precision is decoded', () => {
  const g = createGraph('feeds');
  const w = g.parameter('w', [3]);
  g.output('y', add(w, 0));
  const half: TensorData = { dtype: 'float16', shape: [3], data: Uint16Array.of(0x3c00, 0xc100, 0x0001) };
  const brain: TensorData = { dtype: 'bfloat16', shape: [3], data: Uint16Array.of(0x3f80, 0xc020, 0x7f80) };
  expect(Array.from(interpret(g.graph, {}, new Map([['w', half]])).get('y')!.data)).toEqual([1, -2.5, 2 ** -24]);
  expect(Array.from(interpret(g.graph, { w: brain }, new Map([['w', half]])).get('y')!.data)).toEqual([1, -2.5, Infinity]);
});

test('missing and misshaped feeds, missing parameters and unknown operators have their codes', () => {
  const g = createGraph('errors');
  const x = g.input('x', 'float32', ['n', 2]);
  g.output('y', linear(g, x, 2));
  g.output('z', op('Mystery', [x], { outputs: [{ dtype: 'float32' satisfies DType, shape: [2] }] })[0]!);
  const code = (name: string, feeds: Record<string, TensorData>): (() => unknown) => () => interpret(g.graph, feeds, new Map(), { outputs: [name] });
  expect(code('y', {})).toThrow(expect.objectContaining({ code: 'QRT_ENGINE_FEED' }));
  expect(code('y', { x: f(2, 3) })).toThrow(expect.objectContaining({ code: 'QRT_ENGINE_FEED' }));
  expect(code('y', { x: f(2, 2) })).toThrow(expect.objectContaining({ code: 'QRT_CHECKPOINT_MISMATCH' }));
  expect(code('z', { x: f(2, 2) })).toThrow(expect.objectContaining({ code: 'QRT_ENGINE_COMPILE' }));
  expect(code('w', {})).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
});
