/** Gradients of reductions, normalisation, soft-max, convolution, pooling and the fused loss. */
import type { Dim, Tensor } from '@querent/core';
import { countElements, multiplyDims } from '../../dims.ts';
import { add, cast, div, equal, exp, mul, not, pow, sub, where } from '../../ops/elementwise.ts';
import { conv } from '../../ops/neural.ts';
import { constantNumbers, dimOf, int, ints, op1, scalar } from '../../ops/op.ts';
import { reduceMean, reduceSum } from '../../ops/reductions.ts';
import { filled, reshape, scatterElements, slice, transpose, unsqueeze } from '../../ops/shaping.ts';
import { normaliseAxis } from '../../shape.ts';
import type { GradientRule, RuleContext } from '../rule.ts';
import { floatOf, intOf, intsOf, noGradient, textOf, unbroadcast } from '../rule.ts';

/** The reduced axes, and the output's gradient with those axes kept as 1: it broadcasts to the input. */
function reduced(c: RuleContext): { axes: readonly number[]; dy: Tensor } {
  const x = c.x(0);
  const given = c.node.inputs[1] === undefined || c.node.inputs[1] === null ? intsOf(c.node, 'axes') : constantNumbers(c.node.inputs[1]);
  const axes = (given ?? x.shape.map((_, i) => i)).map((axis) => normaliseAxis(axis, x.shape.length));
  return { axes, dy: reshape(c.dy(0)!, x.shape.map((dim, axis): Dim => (axes.includes(axis) ? 1 : dim))) };
}

/** `x / size`, where the size may only be known at run time. */
function divideBySize(x: Tensor, size: Dim): Tensor {
  return typeof size === 'number' ? mul(x, 1 / size) : div(x, cast(dimOf(x, size), 'float32'));
}

/** Sum over the last axes from `axis` on, kept. */
function innerMean(x: Tensor, axis: number): Tensor {
  return reduceMean(x, x.shape.flatMap((_, i) => (i >= axis ? [i] : [])));
}

/**
 * ŷ = (x - μ) r, y = ŷ γ + β: with u = dy γ, dx = r (u - mean(u) - ŷ mean(u ŷ)). Outputs 1 and 2 of the operator are μ and r.
 */
const layerNormalization: GradientRule = (c) => {
  const [x, dy] = [c.x(0), c.dy(0)!];
  const axis = normaliseAxis(intOf(c.node, 'axis', -1), x.shape.length);
  const inverse = c.y(2);
  const normal = mul(sub(x, c.y(1)), inverse);
  const u = mul(dy, c.x(1));
  const dx = (): Tensor => mul(sub(sub(u, innerMean(u, axis)), mul(normal, innerMean(mul(u, normal), axis))), inverse);
  return [
    c.needs(0) ? dx() : null,
    c.needs(1) ? unbroadcast(mul(dy, normal), c.x(1).shape) : null,
    c.node.inputs.length > 2 && c.needs(2) ? unbroadcast(dy, c.x(2).shape) : null,
  ];
};

/** ŷ = x r, r = 1 / √(mean(x²) + ε): dx = r (u - ŷ mean(u ŷ)). */
const rmsNormalization: GradientRule = (c) => {
  const [x, dy] = [c.x(0), c.dy(0)!];
  const axis = x.shape.length - 1;
  const inverse = pow(add(innerMean(mul(x, x), axis), floatOf(c.node, 'epsilon', 1e-5)), -0.5);
  const normal = mul(x, inverse);
  const u = mul(dy, c.x(1));
  return [
    c.needs(0) ? mul(sub(u, mul(normal, innerMean(mul(u, normal), axis))), inverse) : null,
    c.needs(1) ? unbroadcast(mul(dy, normal), c.x(1).shape) : null,
  ];
};

/** The sum of a gradient over the class axis when some axes of it may still be 1. */
function sumOverClasses(gradient: Tensor, classes: Dim): Tensor {
  if (gradient.shape.at(-1) !== 1 || classes === 1) return reduceSum(gradient, [-1]);
  return typeof classes === 'number' ? mul(gradient, classes) : mul(gradient, cast(dimOf(gradient, classes), 'float32'));
}

/** Loss L = -log p[label]: d scores = (p - onehot(label)) dL, and for the log-probabilities: d - p Σd. */
const softmaxCrossEntropyLoss: GradientRule = (c) => {
  const [scores, labels, logProbabilities] = [c.x(0), c.x(1), c.y(1)];
  const [dLoss, dLog] = [c.dy(0), c.dyCompact(1)];
  const p = exp(logProbabilities); // [rows, classes]
  if (dLoss === undefined) return [dLog === undefined ? null : sub(dLog, mul(p, sumOverClasses(dLog, scores.shape[1]!))), null];
  const ignored = equal(labels, scalar(labels, intOf(c.node, 'ignore_index', -1), 'int64'));
  const counts = cast(not(ignored), 'float32');
  const reduction = textOf(c.node, 'reduction', 'mean');
  const weight = mul(counts, reduction === 'mean' ? div(dLoss, reduceSum(counts, [0], false)) : dLoss);
  const rowWeight = unsqueeze(weight, [1]); // [rows, 1]
  const safe = unsqueeze(where(ignored, scalar(labels, 0, 'int64'), labels), [1]);
  const factor = dLog === undefined ? rowWeight : sub(rowWeight, sumOverClasses(dLog, scores.shape[1]!));
  const spread = scatterElements(mul(p, factor), safe, mul(rowWeight, -1), 1, 'add');
  return [dLog === undefined ? spread : add(spread, dLog), null];
};

/** dX is the transposed convolution of dY; dW correlates X with dY. */
const convRule: GradientRule = (c) => {
  const [x, w, dy] = [c.x(0), c.x(1), c.dy(0)!];
  if (x.shape.length !== 4) throw noGradient(c.node, 'only 2-D convolutions have one.');
  const strides = intsOf(c.node, 'strides') ?? [1, 1];
  const pads = intsOf(c.node, 'pads') ?? [0, 0, 0, 0];
  const dilations = intsOf(c.node, 'dilations') ?? [1, 1];
  const group = intOf(c.node, 'group', 1);
  const kernel = w.shape.slice(2).map(Number);
  const size = x.shape.slice(2).map(Number);
  const out = dy.shape.slice(2).map(Number);
  const dx = (): Tensor => {
    const reach = out.map((n, i) => (n - 1) * strides[i]! + dilations[i]! * (kernel[i]! - 1) + 1 - pads[i]! - pads[i + 2]!);
    return op1('ConvTranspose', [dy, w], {
      attributes: {
        strides: ints(strides), pads: ints(pads), dilations: ints(dilations), group: int(group), kernel_shape: ints(kernel),
        output_padding: ints(size.map((n, i) => n - reach[i]!)),
      },
      outputs: [{ dtype: x.dtype, shape: x.shape }],
    });
  };
  return [
    c.needs(0) ? dx() : null,
    c.needs(1) ? convWeightGradient(c, { strides, pads, dilations, group, kernel }) : null,
    c.node.inputs.length > 2 && c.needs(2) ? reduceSum(dy, [0, 2, 3], false) : null,
  ];
};

interface Window {
  readonly strides: readonly number[];
  readonly pads: readonly number[];
  readonly dilations: readonly number[];
  readonly group: number;
  readonly kernel: readonly number[];
}

function convWeightGradient(c: RuleContext, window: Window): Tensor {
  const [x, w, dy] = [c.x(0), c.x(1), c.dy(0)!];
  const options = { strides: window.dilations, dilations: window.strides, pads: window.pads };
  const crop = (full: Tensor): Tensor => slice(slice(full, 2, 0, window.kernel[0]!), 3, 0, window.kernel[1]!);
  if (window.group === 1) {
    // Channels take the place of the batch: [channels, batch, …] against [out, batch, …] gives [channels, out, kernel…].
    return transpose(crop(conv(transpose(x, [1, 0, 2, 3]), transpose(dy, [1, 0, 2, 3]), null, options)), [1, 0, 2, 3]);
  }
  const channels = Number(x.shape[1]);
  const batch = x.shape[0]!;
  if (window.group !== channels || w.shape[0] !== channels || typeof batch !== 'number') {
    throw noGradient(c.node, 'grouped convolutions have one only when they are depthwise and the batch is a number.');
  }
  const planes = batch * channels;
  const flat = conv(reshape(x, [1, planes, ...x.shape.slice(2)]), reshape(dy, [planes, 1, ...dy.shape.slice(2)]), null, { ...options, group: planes });
  return reshape(reduceSum(reshape(crop(flat), [batch, channels, ...window.kernel]), [0], false), w.shape);
}

/** Each input of a window gets an equal share. */
const averagePool: GradientRule = (c) => {
  const [x, dy] = [c.x(0), c.dy(0)!];
  const kernel = intsOf(c.node, 'kernel_shape') ?? [];
  const strides = intsOf(c.node, 'strides') ?? [1, 1];
  if ((intsOf(c.node, 'pads') ?? []).some((n) => n !== 0)) throw noGradient(c.node, 'a padded average pool has none.');
  const channels = Number(x.shape[1]);
  const share = filled(x, [channels, 1, ...kernel], 1 / (kernel[0]! * kernel[1]!));
  const rest = x.shape.slice(2).map((n, i) => Number(n) - ((Number(dy.shape[i + 2]) - 1) * strides[i]! + kernel[i]!));
  const dx = op1('ConvTranspose', [dy, share], {
    attributes: { strides: ints(strides), group: int(channels), kernel_shape: ints(kernel), output_padding: ints(rest) },
    outputs: [{ dtype: x.dtype, shape: x.shape }],
  });
  return [dx];
};

export const neuralRules: Readonly<Record<string, GradientRule>> = {
  ReduceSum: (c) => [reduced(c).dy, null],
  ReduceMean: (c) => {
    const { axes, dy } = reduced(c);
    return [divideBySize(dy, countElements(axes.map((axis) => c.x(0).shape[axis]!))), null];
  },
  // Shared evenly between equal largest elements (as torch.amax does).
  ReduceMax: (c) => {
    const { axes, dy } = reduced(c);
    const keep = c.x(0).shape.map((dim, axis): Dim => (axes.includes(axis) ? 1 : dim));
    const isLargest = cast(equal(c.x(0), reshape(c.y(0), keep)), 'float32');
    return [mul(isLargest, div(dy, reduceSum(isLargest, axes))), null];
  },
  // y (dy - Σ dy y)
  Softmax: (c) => {
    const [y, dy] = [c.y(0), c.dy(0)!];
    const axis = intOf(c.node, 'axis', -1);
    return [mul(y, sub(dy, reduceSum(mul(dy, y), [axis])))];
  },
  // dy - p Σ dy
  LogSoftmax: (c) => {
    const dy = c.dy(0)!;
    return [sub(dy, mul(exp(c.y(0)), reduceSum(dy, [intOf(c.node, 'axis', -1)])))];
  },
  LayerNormalization: layerNormalization,
  RMSNormalization: rmsNormalization,
  SoftmaxCrossEntropyLoss: softmaxCrossEntropyLoss,
  Conv: convRule,
  AveragePool: averagePool,
  GlobalAveragePool: (c) => [divideBySize(c.dy(0)!, multiplyDims(c.x(0).shape[2]!, c.x(0).shape[3]!))],
};

