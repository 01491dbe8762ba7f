/** Every operator of the reference interpreter with inputs: for the reference itself and for each engine. */
import { allocate, elementCount, float32, int64 } from '@querent/core';
import type { Attribute, Graph, Node, TensorData } from '@querent/core';
import { createGraph } from '../src/graph.ts';
import { float, int, ints, op, text } from '../src/ops/op.ts';
import { REFERENCE_KERNELS } from '../src/testing/reference.ts';
import { fromTensorData } from '../src/testing/reference/tensor.ts';

/** One operator with inputs and attributes. */
export interface OperatorCase {
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

/** Random float32 in [-2, 2]. */
export function f(...shape: number[]): TensorData<'float32'> {
  return float32(shape, Array.from({ length: elementCount(shape) }, () => uniform(-2, 2)));
}

function positive(...shape: number[]): TensorData<'float32'> {
  return float32(shape, f(...shape).data.map((x) => Math.abs(x) + 0.1));
}

/** Random int64 in [low, high). */
function i(shape: readonly number[], low: number, high: number): TensorData<'int64'> {
  return int64(shape, Array.from({ length: elementCount(shape) }, () => Math.floor(uniform(low, high))));
}

/** Random int8. */
function i8(...shape: number[]): TensorData<'int8'> {
  return { dtype: 'int8', shape, data: Int8Array.from({ length: elementCount(shape) }, () => Math.floor(uniform(-127, 128))) };
}

const iv = (...values: number[]): TensorData<'int64'> => int64([values.length], values);
const is = (value: number): TensorData<'int64'> => int64([], [value]);
const fs = (value: number): TensorData<'float32'> => float32([], [value]);

function bools(...shape: number[]): TensorData<'bool'> {
  const data = allocate('bool', elementCount(shape)).map(() => (uniform(0, 1) < 0.5 ? 0 : 1));
  return { dtype: 'bool', shape, data };
}

const each = (names: readonly string[], inputs: () => readonly TensorData[], more: Partial<OperatorCase> = {}): OperatorCase[] =>
  names.map((name) => ({ op: name, inputs: inputs(), ...more }));
const ms = 'com.microsoft';

/** Every operator of the reference, at least once. */
export const OPERATOR_CASES: readonly OperatorCase[] = [
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
  { op: 'DynamicQuantizeMatMul', domain: ms, inputs: [f(2, 3, 4), i8(4, 5), positive(5), null, f(5)] },
  { op: 'DynamicQuantizeMatMul', domain: ms, inputs: [f(3, 4), i8(4, 2), positive(2)] },
  { op: 'DynamicQuantizeMatMul', domain: ms, inputs: [positive(3, 4), i8(4, 2), positive(1)] },
  { op: 'DynamicQuantizeMatMul', domain: ms, inputs: [float32([2, 3], [0, 0, 0, 0, 0, 0]), i8(3, 2), positive(2), null, f(2)] },

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
export function graphOf(sample: OperatorCase): { readonly graph: Graph; readonly feeds: Record<string, TensorData> } {
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
