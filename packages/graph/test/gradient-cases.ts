/** Expressions in small inputs, for every gradient rule: for differences, and for each engine. Their loss weighs all outputs with random numbers. */
import type { Dim, Graph, Shape, Tensor, TensorData } from '@querent/core';
import { elementCount, float32, int64 } from '@querent/core';
import * as g from '../src/index.ts';

const { createGraph, grad, interpret } = g;

/** What the named dims are when a case runs. */
const SIZES: Readonly<Record<string, number>> = { batch: 3, tokens: 4, one: 1 };

export interface Input {
  readonly shape: Shape;
  /** Absent: floats to differentiate. Else fixed integers (or bools). */
  readonly ints?: readonly number[];
  readonly isBool?: boolean;
  readonly isPositive?: boolean;
}

/** An expression whose gradient is checked. */
export interface GradientCase {
  readonly op: string;
  readonly what: string;
  readonly inputs: readonly Input[];
  readonly build: (xs: Tensor[]) => Tensor | readonly Tensor[];
}

const f = (...shape: Dim[]): Input => ({ shape });
const positive = (...shape: Dim[]): Input => ({ shape, isPositive: true });
const i = (shape: Shape, ...ints: number[]): Input => ({ shape, ints });
const bools = (shape: Shape, ...ints: number[]): Input => ({ shape, ints, isBool: true });

type Build = GradientCase['build'];
const of = (op: string, what: string, inputs: readonly Input[], build: Build): GradientCase => ({ op, what, inputs, build });
const unary = (op: string, build: (x: Tensor) => Tensor, make = f): GradientCase[] => [
  of(op, 'of a matrix', [make(2, 3)], ([x]) => build(x!)),
  of(op, 'of symbolic dims, with a compact gradient', [make('batch', 2, 'tokens')], ([x]) => g.reduceMean(build(x!), [0, -1])),
];
const binary = (op: string, build: (a: Tensor, b: Tensor) => Tensor, make = f): GradientCase[] => [
  of(op, 'of equal shapes', [make('batch', 4), make('batch', 4)], ([a, b]) => build(a!, b!)),
  of(op, 'broadcast both ways', [make(2, 1, 4), make(3, 1)], ([a, b]) => build(a!, b!)),
  of(op, 'with a scalar, and a symbolic lead', [make('batch', 2), make()], ([a, b]) => build(a!, b!)),
  of(op, 'of a row and a column, with a compact gradient', [make('tokens'), make('batch', 1)], ([a, b]) => g.reduceSum(build(a!, b!), [0])),
  of(op, 'of a tensor with itself', [make(3)], ([a]) => build(a!, a!)),
];
/** For operators whose result is constant between jumps: the rule says 0 and so do differences. */
const still = (op: string, inputs: readonly Input[], build: (xs: Tensor[]) => Tensor): GradientCase => of(op, 'lets nothing through', inputs, (xs) => {
  const flat = g.reshape(xs[0]!, [-1]);
  return g.mul(flat, g.reduceSum(g.cast(build(xs), 'float32'), build(xs).shape.map((_, axis) => axis), false));
});
const attributes = (values: Readonly<Record<string, number | string>>): g.OpOptions => ({
  attributes: Object.fromEntries(Object.entries(values).map(([name, value]) => [name, typeof value === 'string' ? g.text(value) : g.int(value)])),
});
const all = (x: Tensor): number[] => x.shape.map((_, axis) => axis);

const ELEMENTWISE: readonly GradientCase[] = [
  ...unary('Identity', g.identity), ...unary('Neg', g.neg), ...unary('Abs', g.abs), ...unary('Exp', g.exp), ...unary('Erf', g.erf),
  ...unary('Tanh', g.tanh), ...unary('Sigmoid', g.sigmoid), ...unary('Relu', g.relu), ...unary('Sin', g.sin), ...unary('Cos', g.cos),
  ...unary('Sqrt', g.sqrt, positive), ...unary('Log', g.log, positive), ...unary('Reciprocal', g.reciprocal, positive),
  ...unary('Gelu', (x) => g.gelu(x)), ...unary('Gelu', (x) => g.gelu(x, 'tanh')),
  ...unary('QuickGelu', (x) => g.op1('QuickGelu', [x], { domain: 'com.microsoft', attributes: { alpha: g.float(1.5) } })),
  ...unary('QuickGelu', (x) => g.op1('QuickGelu', [x], { domain: 'com.microsoft' })),
  ...binary('Add', g.add), ...binary('Sub', g.sub), ...binary('Mul', g.mul), ...binary('Div', g.div, positive),
  ...binary('Min', g.min).slice(0, 4), ...binary('Max', g.max).slice(0, 4), ...binary('Pow', g.pow, positive),
  ...[2, 3, -1, 0.5, 1].flatMap((n) => unary('Pow', (x) => g.pow(x, n), positive)),
  of('Pow', 'squares negative numbers', [f(4)], ([x]) => g.pow(x!, 2)),
  of('Max', 'of one input', [f(3)], ([x]) => g.op1('Max', [x!], { outputs: [x!] })),
  of('Clip', 'between two bounds', [f(3, 4)], ([x]) => g.clip(x!, -0.5, 0.5)),
  of('Clip', 'from below', [f('batch', 4)], ([x]) => g.clip(x!, 0.1)),
  of('Clip', 'from above', [f(5)], ([x]) => g.clip(x!, undefined, 0.3)),
  of('Clip', 'without bounds', [f(5)], ([x]) => g.clip(x!)),
  of('Where', 'broadcast', [bools([2, 1, 3], 1, 0, 1, 1, 0, 0), f(4, 1), f()], ([c, a, b]) => g.where(c!, a!, b!)),
  of('Where', 'with a number', [bools(['batch'], 1, 0, 1), f(2, 'batch')], ([c, a]) => g.where(c!, a!, -1)),
  of('Cast', 'there and back', [f(3, 2)], ([x]) => g.cast(g.cast(x!, 'float64'), 'float32')),
];

const PRODUCTS: readonly GradientCase[] = [
  of('MatMul', 'of matrices', [f(2, 3), f(3, 4)], ([a, b]) => g.matMul(a!, b!)),
  of('MatMul', 'of batches', [f('batch', 2, 3, 4), f('batch', 2, 4, 2)], ([a, b]) => g.matMul(a!, b!)),
  of('MatMul', 'broadcast both ways', [f(2, 1, 3, 4), f(3, 4, 2)], ([a, b]) => g.matMul(a!, b!)),
  of('MatMul', 'of a stack and one matrix', [f('batch', 3, 4), f(4, 2)], ([a, b]) => g.matMul(a!, b!)),
  of('MatMul', 'of one matrix and a stack', [f(3, 4), f('batch', 4, 2)], ([a, b]) => g.matMul(a!, b!)),
  of('MatMul', 'of a tensor with itself', [f(3, 3)], ([a]) => g.matMul(a!, a!)),
  ...[false, true].flatMap((transA) => [false, true].flatMap((transB): GradientCase[] => {
    const what = `${transA ? 'Aᵀ' : 'A'} ${transB ? 'Bᵀ' : 'B'}`;
    const a = transA ? [4, 3] : [3, 4];
    const b = transB ? [2, 4] : [4, 2];
    return [
      of('FusedMatMul', `${what} of batches`, [f('batch', ...a), f('batch', ...b)], ([x, y]) => g.fusedMatMul(x!, y!, { transA, transB, alpha: 0.5 })),
      of('FusedMatMul', `${what}, broadcast`, [f(2, 1, ...a), f('batch', ...b)], ([x, y]) => g.fusedMatMul(x!, y!, { transA, transB })),
      of('FusedMatMul', `${what} of a stack and one matrix`, [f('batch', ...a), f(...b)], ([x, y]) => g.fusedMatMul(x!, y!, { transA, transB, alpha: 2 })),
      of('Gemm', `${what} + row, scaled`, [f(...a), f(...b), f(2)], ([x, y, c]) => g.gemm(x!, y!, c!, { transA, transB, alpha: 0.5, beta: 3 })),
      of('Gemm', what, [f(...a), f(...b)], ([x, y]) => g.gemm(x!, y!, null, { transA, transB })),
    ];
  })),
  of('Gemm', 'with symbolic rows and a column', [f('batch', 3), f(2, 3), f('batch', 1)], ([a, b, c]) => g.gemm(a!, b!, c!, { transB: true })),
  of('Gemm', 'with a scalar and a compact gradient', [f('batch', 3), f(3, 2), f()], ([a, b, c]) => g.reduceSum(g.gemm(a!, b!, c!), [0, 1])),
  of('Gemm', 'in a linear layer over [batch, tokens, width]', [f('batch', 'tokens', 3), f(2, 3), f(2)], ([x, w, b]) => g.linearWith(x!, w!, b!)),
];

const REDUCTIONS: readonly GradientCase[] = [
  ...([['ReduceSum', g.reduceSum], ['ReduceMean', g.reduceMean], ['ReduceMax', g.reduceMax]] as const).flatMap(([op, reduce]): GradientCase[] => {
    return [
      of(op, 'of the last axis', [f('batch', 4)], ([x]) => reduce(x!, [-1])),
      of(op, 'of outer axes, dropped', [f('batch', 2, 'tokens')], ([x]) => reduce(x!, [0, -1], false)),
      of(op, 'of symbolic axes together', [f('batch', 'tokens', 2)], ([x]) => reduce(x!, [0, 1], false)),
      of(op, 'of everything', [f(2, 3)], ([x]) => reduce(x!, [0, 1], false)),
      of(op, 'without axes', [f(2, 3)], ([x]) => g.op1(op, [x!], attributes({ keepdims: 0 }))),
      of(op, 'after a square root, before a product', [positive(2, 3)], ([x]) => g.mul(x!, reduce(g.sqrt(x!), [1]))),
    ];
  }),
  ...([['Softmax', g.softmax], ['LogSoftmax', g.logSoftmax]] as const).flatMap(([op, apply]): GradientCase[] => [
    of(op, 'of the last axis', [f('batch', 2, 3)], ([x]) => apply(x!)),
    of(op, 'of a symbolic axis', [f(2, 'tokens', 3)], ([x]) => apply(x!, 1)),
    of(op, 'with a compact gradient', [f('batch', 3)], ([x]) => g.reduceMean(apply(x!), [0])),
    of(op, 'summed over its axis', [f(3, 3)], ([x]) => g.reduceSum(g.mul(apply(x!), g.softmax(x!)), [1])),
  ]),
  of('LayerNormalization', 'of the last axis', [f('batch', 'tokens', 5), f(5), f(5)], ([x, w, b]) => g.layerNormalization(x!, w!, b!, 1e-5)),
  of('LayerNormalization', 'of two axes', [f('batch', 2, 3), f(2, 3), f(2, 3)], ([x, w, b]) => g.layerNormalization(x!, w!, b!, 0.1, 1)),
  of('LayerNormalization', 'without bias', [f(2, 4), f(4)], ([x, w]) => g.layerNormalization(x!, w!, null, 1e-5)),
  of('LayerNormalization', 'with one output declared', [f(2, 4), f(4), f(4)], ([x, w, b]) => g.op1('LayerNormalization', [x!, w!, b!], { attributes: { axis: g.int(-1), epsilon: g.float(0.01) }, outputs: [x!] })),
  of('LayerNormalization', 'with a compact gradient', [f('batch', 'tokens', 3), f(3), f(3)], ([x, w, b]) => g.reduceMean(g.layerNormalization(x!, w!, b!, 1e-5), [1])),
  of('RMSNormalization', 'of the last axis', [f('batch', 'tokens', 5), f(5)], ([x, w]) => g.rmsNormalization(x!, w!, 1e-5)),
  of('RMSNormalization', 'with a compact gradient', [f('batch', 4), f(4)], ([x, w]) => g.reduceSum(g.rmsNormalization(x!, w!, 0.1), [0])),
  ...(['none', 'mean', 'sum'] as const).flatMap((reduction): GradientCase[] => [
    of('SoftmaxCrossEntropyLoss', `${reduction}, some labels ignored`, [f('batch', 5), i(['batch'], 1, -100, 4)], ([x, y]) => g.softmaxCrossEntropyLoss(x!, y!, { reduction, ignoreIndex: -100 })[0]),
    of('SoftmaxCrossEntropyLoss', `${reduction}, with log-probabilities`, [f(3, 5), i([3], 1, 0, 0)], ([x, y]) => g.softmaxCrossEntropyLoss(x!, y!, { reduction, ignoreIndex: 0 })),
    of('SoftmaxCrossEntropyLoss', `${reduction}, nothing ignored`, [f(3, 2), i([3], 1, 0, 0)], ([x, y]) => g.softmaxCrossEntropyLoss(x!, y!, { reduction })[0]),
  ]),
  of('SoftmaxCrossEntropyLoss', 'log-probabilities alone', [f('batch', 4), i(['batch'], 1, 0, 3)], ([x, y]) => g.softmaxCrossEntropyLoss(x!, y!)[1]),
  of('SoftmaxCrossEntropyLoss', 'log-probabilities with a compact gradient', [f('batch', 4), i(['batch'], 1, 0, 3)], ([x, y]) => g.reduceMean(g.softmaxCrossEntropyLoss(x!, y!)[1], [1])),
  of('SoftmaxCrossEntropyLoss', 'label smoothing and ignored labels', [f('batch', 'tokens', 5), i(['batch', 'tokens'], 1, 2, -100, 0, -100, -100, 3, 4, 0, 0, 1, -100)],
    ([x, y]) => g.crossEntropy(x!, y!, { labelSmoothing: 0.1 }).loss),
  of('SoftmaxCrossEntropyLoss', 'label smoothing over symbolic classes', [f(3, 'tokens'), i([3], 1, -100, 3)], ([x, y]) => g.crossEntropy(x!, y!, { labelSmoothing: 0.2 }).loss),
  of('SoftmaxCrossEntropyLoss', 'every label ignored', [f(2, 3), i([2], -100, -100)], ([x, y]) => g.crossEntropy(x!, y!, { labelSmoothing: 0.1 }).loss),
];

const WINDOWS: readonly GradientCase[] = [
  of('Conv', '3 × 3', [f('batch', 2, 4, 5), f(3, 2, 3, 3), f(3)], ([x, w, b]) => g.conv(x!, w!, b!)),
  of('Conv', 'strided, one row left over', [f(2, 2, 6, 5), f(2, 2, 3, 2)], ([x, w]) => g.conv(x!, w!, null, { strides: [2, 3] })),
  of('Conv', 'padded on each side differently', [f(1, 2, 4, 4), f(2, 2, 3, 3), f(2)], ([x, w, b]) => g.conv(x!, w!, b!, { strides: [2, 2], pads: [0, 1, 1, 2] })),
  of('Conv', 'dilated', [f(2, 1, 5, 6), f(2, 1, 2, 2)], ([x, w]) => g.conv(x!, w!, null, { dilations: [2, 3], pads: [1, 1, 1, 1] })),
  of('Conv', 'patches', [f('batch', 3, 4, 4), f(5, 3, 2, 2), f(5)], ([x, w, b]) => g.conv(x!, w!, b!, { strides: [2, 2] })),
  of('Conv', 'depthwise', [f(2, 3, 5, 4), f(3, 1, 3, 3), f(3)], ([x, w, b]) => g.conv(x!, w!, b!, { group: 3, pads: [1, 1, 1, 1], strides: [2, 1] })),
  of('Conv', 'depthwise, symbolic batch', [f('batch', 2, 4, 4), f(2, 1, 3, 3)], ([x, w]) => g.conv(x!, w!, null, { group: 2, pads: [1, 0, 1, 0], strides: [2, 2] })),
  of('Conv', 'in groups', [f('batch', 4, 3, 3), f(6, 2, 2, 2)], ([x, w]) => g.conv(x!, w!, null, { group: 2 })),
  of('AveragePool', 'tiles', [f('batch', 2, 4, 4)], ([x]) => g.averagePool(x!, { kernel: [2, 2] })),
  of('AveragePool', 'overlapping, one row left over', [f(2, 2, 6, 4)], ([x]) => g.averagePool(x!, { kernel: [3, 2], strides: [2, 1] })),
  of('GlobalAveragePool', 'of 3 × 2', [f('batch', 2, 3, 2)], ([x]) => g.globalAveragePool(x!)),
];

const SHAPING: readonly GradientCase[] = [
  of('Reshape', 'with symbolic dims', [f('batch', 'tokens', 6)], ([x]) => g.reshape(x!, ['batch', 'tokens', 2, 3])),
  of('Reshape', 'with a compact gradient', [f('batch', 4)], ([x]) => g.reduceSum(g.reshape(g.exp(x!), [-1, 2]), [0])),
  of('Flatten', 'at axis 2', [f(2, 3, 2)], ([x]) => g.op1('Flatten', [x!], { ...attributes({ axis: 2 }), outputs: [{ dtype: 'float32', shape: [6, 2] }] })),
  of('Squeeze', 'first and last', [f(1, 'batch', 1)], ([x]) => g.squeeze(x!, [0, -1])),
  of('Unsqueeze', 'first and last', [f('batch', 2)], ([x]) => g.unsqueeze(x!, [0, -1])),
  of('Transpose', 'of three axes', [f('batch', 2, 4)], ([x]) => g.transpose(x!, [2, 0, 1])),
  of('Transpose', 'reversed by default', [f(2, 3)], ([x]) => g.op1('Transpose', [x!], { outputs: [{ dtype: 'float32', shape: [3, 2] }] })),
  of('Expand', 'new and old axes', [f('batch', 1), f('tokens')], ([x, y]) => [g.expand(x!, [2, 'batch', 'tokens']), y!]),
  of('Expand', 'of a scalar', [f()], ([x]) => g.expand(x!, [2, 3])),
  of('Concat', 'one of three needed, on a symbolic axis', [f('batch', 2), f('tokens', 2), i([1, 2], 5, 6)], ([a, b, c]) => g.concat([a!, g.cast(c!, 'float32'), b!], 0)),
  of('Concat', 'negative axis, a tensor twice', [f(2, 3), f(2, 1)], ([a, b]) => g.concat([a!, b!, a!], -1)),
  of('Split', 'all parts', [f('batch', 5)], ([x]) => g.split(x!, 1, [1, 4])),
  of('Split', 'one part unused, negative axis', [f('batch', 6)], ([x]) => [g.split(x!, -1, [1, 3, 2])[1]!]),
  of('Slice', 'the middle', [f(5, 2)], ([x]) => g.slice(x!, 0, 1, 3)),
  of('Slice', 'from the end, negative axis', [f('batch', 'tokens')], ([x]) => g.slice(x!, -1, -2, Infinity)),
  of('Slice', 'up to a symbolic end', [f(6, 2), f('batch')], ([x, y]) => [g.slice(x!, 0, 0, 'batch'), y!]),
  of('Slice', 'from a symbolic start', [f(6, 2), f('batch')], ([x, y]) => [g.slice(x!, 0, 'batch', Infinity), y!]),
  of('Slice', 'of a concatenation, between symbolic bounds', [f('batch', 2), f('tokens', 2)], ([x, y]) => g.slice(g.concat([x!, y!], 0), 0, 'batch', 'batch + tokens')),
  of('Slice', 'two axes, backwards in steps', [f(4, 7)], ([x]) => {
    const ints = (...values: number[]): Tensor => g.intVector(x!, values);
    return g.op1('Slice', [x!, ints(3, 5), ints(1, 0), ints(0, 1), ints(-1, -2)], { outputs: [{ dtype: 'float32', shape: [2, 3] }] });
  }),
  of('Gather', 'rows, some twice', [f(5, 3), i([2, 2], 0, 4, -1, 0)], ([x, y]) => g.gather(x!, y!)),
  of('Gather', 'from the middle axis', [f('batch', 4, 2), i([3], 2, 2, -4)], ([x, y]) => g.gather(x!, y!, 1)),
  of('Gather', 'a matrix of indices from the last axis', [f(2, 3), i([2, 2], 0, 2, 1, 2)], ([x, y]) => g.gather(x!, y!, -1)),
  of('Gather', 'one constant row', [f('batch', 4)], ([x]) => g.gather(x!, g.scalar(x!, 2, 'int64'), 1)),
  of('Gather', 'one constant row from the end', [f(4, 2)], ([x]) => g.gather(x!, g.scalar(x!, -1, 'int64'))),
  of('Gather', 'one row that is known at run time', [f(2, 4), i([], 1)], ([x, y]) => g.gather(x!, y!, 1)),
  of('Gather', 'with a compact gradient', [f(5, 3), i(['batch'], 0, 4, 0)], ([x, y]) => g.reduceMean(g.gather(x!, y!), [0])),
  of('GatherElements', 'along each axis', [f(3, 4), i([2, 4], 0, 2, 1, 1, 0, -1, 1, 2)], ([x, y]) => [g.gatherElements(x!, y!, 0), g.gatherElements(x!, y!, -1)]),
  of('ScatterElements', 'replacing', [f(3, 4), i([2, 2], 0, 2, 1, -1), f(2, 2)], ([x, y, u]) => g.scatterElements(x!, y!, u!, 1)),
  of('ScatterElements', 'adding, some twice', [f('batch', 4), i([2, 2], 0, 2, 1, 2), f(2, 2)], ([x, y, u]) => g.scatterElements(x!, y!, u!, 0, 'add')),
  of('Trilu', 'upper', [f('batch', 3, 4)], ([x]) => g.trilu(x!, true, 1)),
  of('Trilu', 'lower', [f(4, 3)], ([x]) => g.trilu(x!, false, -1)),
  of('Trilu', 'without k, and with k at run time', [f(3, 3), i([], 1)], ([x, k]) => [g.op1('Trilu', [x!]), g.op1('Trilu', [x!, k!])]),
  of('Pad', 'with zeros', [f('batch', 3)], ([x]) => g.pad(x!, [1, 0], [0, 2])),
  of('Pad', 'with another value', [f(2, 3)], ([x]) => g.pad(x!, [0, 1], [0, 0], 4)),
  of('Tile', 'both axes', [f('batch', 2)], ([x]) => g.tile(x!, [2, 3])),
  of('CumSum', 'along each axis', [f('batch', 4)], ([x]) => [g.cumSum(x!, 0), g.cumSum(x!, -1)]),
  ...[[0, 1], [1, 0], [1, 1]].map(([exclusive, reverse]) =>
    of('CumSum', `exclusive ${exclusive}, reverse ${reverse}`, [f(2, 4)], ([x]) => g.op1('CumSum', [x!, g.scalar(x!, 1, 'int64')], attributes({ exclusive: exclusive!, reverse: reverse! })))),
  of('TopK', 'values', [f('batch', 5)], ([x]) => g.topK(x!, 2)[0]),
  of('TopK', 'along the first axis', [f(5, 2)], ([x]) => g.topK(x!, 3, 0)[0]),
];

const STILL: readonly GradientCase[] = [
  still('Shape', [f(2, 3)], ([x]) => g.shapeOf(x!)),
  still('Size', [f(2, 3)], ([x]) => g.op1('Size', [x!], { outputs: [{ dtype: 'int64', shape: [] }] })),
  still('ArgMax', [f(3, 4)], ([x]) => g.argMax(x!, 1)),
  ...(['Equal', 'Less', 'Greater', 'LessOrEqual', 'GreaterOrEqual'] as const).map((op) => still(op, [f(3), f(3)], ([a, b]) => g.op1(op, [a!, b!]))),
  ...(['And', 'Or', 'Xor'] as const).map((op) => still(op, [f(3)], ([x]) => g.op1(op, [g.less(x!, 0.2), g.greater(x!, -0.3)], { outputs: [{ dtype: 'bool', shape: [3] }] }))),
  still('Not', [f(3)], ([x]) => g.not(g.less(x!, 0.2))),
  still('Range', [f('batch')], ([x]) => g.range(x!, 'batch')),
  still('OneHot', [f(3, 4)], ([x]) => g.oneHot(g.argMax(x!, 1), 4)),
  still('ConstantOfShape', [f('batch')], ([x]) => g.filled(x!, ['batch'], 2)),
  ...(['Sign', 'Floor', 'Ceil', 'Round'] as const).map((op) => still(op, [f(3, 4)], ([x]) => g.op1(op, [x!], { outputs: [x!] }))),
];

/** Every operator that has a gradient rule, at least once. */
export const GRADIENT_CASES: readonly GradientCase[] = [...ELEMENTWISE, ...PRODUCTS, ...REDUCTIONS, ...WINDOWS, ...SHAPING, ...STILL];

/** A linear congruential generator (Numerical Recipes). */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  next();
  return next;
}

/** Different numbers in (-2, 2) in random order, on a grid that is shifted by `shift` of a cell. */
function spread(random: () => number, count: number, shift: number): Float64Array {
  const cells = Math.max(10, count);
  const grid = Array.from({ length: 2 * cells }, (_, k) => ((k - cells + shift) * 2) / cells);
  return Float64Array.from({ length: count }, (_, k) => {
    const pick = k + Math.floor(random() * (grid.length - k));
    [grid[k], grid[pick]] = [grid[pick]!, grid[k]!];
    return grid[k]!;
  });
}

const concrete = (shape: Shape): number[] => shape.map((dim) => (typeof dim === 'number' ? dim : SIZES[dim]!));
export const float64 = (shape: readonly number[], data: Float64Array): TensorData => ({ dtype: 'float64', shape, data });

export const asFloat32 = (feed: TensorData): TensorData => (feed.dtype === 'float64' ? float32(feed.shape, Float32Array.from(feed.data as Float64Array)) : feed); // float64 data

export interface Built {
  readonly graph: Graph;
  readonly feeds: Record<string, TensorData>;
  /** Names of the inputs to differentiate; their gradients are outputs `grad/<name>`. */
  readonly learned: readonly string[];
  readonly forward: ReadonlySet<string>;
}

/** The case as a graph with `loss` and `grad/x0` …: drawn inputs, all outputs weighed. */
export function build(c: GradientCase, seed: number): Built {
  const random = generator(seed);
  const scope = createGraph(c.op);
  const feeds: Record<string, TensorData> = {};
  const xs = c.inputs.map(({ shape, ints, isBool, isPositive }, k) => {
    const size = concrete(shape);
    const values = spread(random, elementCount(size), (k + 1) / (c.inputs.length + 1.5));
    if (isBool === true) feeds[`x${k}`] = { dtype: 'bool', shape: size, data: Uint8Array.from(ints!) };
    else if (ints !== undefined) feeds[`x${k}`] = int64(size, ints);
    else feeds[`x${k}`] = float64(size, isPositive === true ? values.map((x) => Math.abs(x) + 0.2) : values);
    return scope.input(`x${k}`, isBool === true ? 'bool' : ints === undefined ? 'float32' : 'int64', shape);
  });
  const built = c.build(xs);
  const ys = 'graph' in built ? [built] : built;
  const forward = new Set(scope.graph.nodes.map((node) => node.opType));
  ys.forEach((y, k) => scope.output(`y${k}`, y));
  const shapes = interpret(scope.graph, feeds);
  const parts = ys.map((y, k) => {
    const { shape } = shapes.get(`y${k}`)!;
    feeds[`w${k}`] = float64(shape, spread(random, elementCount(shape), 0.4));
    const weighted = g.mul(y, scope.input(`w${k}`, 'float32', y.shape));
    return weighted.shape.length === 0 ? weighted : g.reduceSum(weighted, all(weighted), false);
  });
  const loss = parts.reduce((a, b) => g.add(a, b));
  scope.output('loss', loss);
  const learned = c.inputs.flatMap((input, k) => (input.ints === undefined ? [k] : []));
  grad(loss, learned.map((k) => xs[k]!)).forEach((gradient, n) => scope.output(`grad/x${learned[n]}`, gradient));
  return { graph: scope.graph, feeds, learned: learned.map((k) => `x${k}`), forward };
}
