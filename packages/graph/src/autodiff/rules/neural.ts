/** Gradients of reductions, normalisation, soft-max and the fused loss. */
import type { Dim, Tensor } from '@querent/core';
import { countElements } from '../../dims.ts';
import { add, cast, div, equal, exp, mul, not, pow, sub, where } from '../../ops/elementwise.ts';
import { softmax } from '../../ops/neural.ts';
import { constantNumbers, dimOf, scalar } from '../../ops/op.ts';
import { reduceMean, reduceSum } from '../../ops/reductions.ts';
import { reshape, scatterElements, unsqueeze } from '../../ops/shaping.ts';
import { normaliseAxis } from '../../shape.ts';
import type { GradientRule, RuleContext } from '../rule.ts';
import { divideBySize, floatOf, intOf, intsOf, noGradient, textOf, unbroadcast } from '../rule.ts';

/** The reduced axes, and the output's gradient with those axes kept as 1: it broadcasts to the input. */
function reduced(c: RuleContext): { axes: readonly number[]; dy: Tensor } {
  const x = c.x(0);
  const given = c.node.inputs[1] === undefined || c.node.inputs[1] === null ? intsOf(c.node, 'axes') : constantNumbers(c.node.inputs[1]);
  const axes = (given ?? x.shape.map((_, i) => i)).map((axis) => normaliseAxis(axis, x.shape.length));
  return { axes, dy: reshape(c.dy(0)!, x.shape.map((dim, axis): Dim => (axes.includes(axis) ? 1 : dim))) };
}

/** Mean over the last axes from `axis` on, kept. */
function innerMean(x: Tensor, axis: number): Tensor {
  return reduceMean(x, x.shape.flatMap((_, i) => (i >= axis ? [i] : [])));
}

/**
 * ŷ = (x - μ) r, y = ŷ γ + β: with u = dy γ, dx = r (u - mean(u) - ŷ mean(u ŷ)). Outputs 1 and 2 of the operator are μ and r,
 * where it declares them.
 */
const layerNormalization: GradientRule = (c) => {
  const [x, dy] = [c.x(0), c.dy(0)!];
  const axis = normaliseAxis(intOf(c.node, 'axis', -1), x.shape.length);
  const [, mean, deviation] = c.node.outputs;
  const centred = sub(x, mean ?? innerMean(x, axis));
  const inverse = deviation ?? pow(add(innerMean(mul(centred, centred), axis), floatOf(c.node, 'epsilon', 1e-5)), -0.5);
  const normal = mul(centred, inverse);
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
  const axis = normaliseAxis(intOf(c.node, 'axis', -1), x.shape.length);
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
  const [scores, labels, logProbabilities] = [c.x(0), c.x(1), c.node.outputs[1]];
  if (scores.shape.length !== 2) throw noGradient(c.node, `its scores must be [rows, classes], they have ${scores.shape.length} axes.`);
  if ((c.node.inputs[2] ?? null) !== null) throw noGradient(c.node, 'with class weights there is none.');
  const [dLoss, dLog] = [c.dy(0), logProbabilities === undefined ? undefined : c.dyCompact(1)];
  const p = logProbabilities === undefined ? softmax(scores) : exp(logProbabilities); // [rows, classes]
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
};

