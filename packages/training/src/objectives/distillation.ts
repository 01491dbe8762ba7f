/**
 * What a student encoder learns from a teacher's features: their values, their direction at each position, and the
 * direction of their mean. The target is standardised channel by channel, so that no channel counts for more than another.
 */
import type { Tensor } from '@querent/core';
import { add, constant, div, mul, neg, reduceMean, reduceSum, sqrt, sub } from '@querent/graph';

/** Mean and standard deviation of each of the teacher's channels. */
export interface ChannelStatistics {
  readonly mean: Float32Array;
  readonly deviation: Float32Array;
}

export interface DistillationWeights {
  readonly mse: number;
  /** Of 1 - cosine, position by position. */
  readonly cosine: number;
  /** Of 1 - cosine of the means over the positions. */
  readonly pooled: number;
}

export interface Distillation extends Readonly<Record<string, Tensor>> {
  /** The weighted sum. */
  readonly loss: Tensor;
  /** Mean squared error of the standardised features. */
  readonly loss_mse: Tensor;
  /** Share of the target's variance that the student explains: 0 for always the mean, 1 for the target itself. */
  readonly r2: Tensor;
  /** Mean cosine of the positions. */
  readonly cosine: Tensor;
  /** Mean cosine of the pooled features. */
  readonly cosine_pooled: Tensor;
}

/** Keeps the cosine of a vector of zeros finite. */
const TINY = 1e-6;

/**
 * Scalars of a batch; only `loss` is meant to be differentiated.
 *
 * @param student float32 [batch, patches, channels]: a guess at the standardised features.
 * @param teacher float32 [batch, patches, channels], as the teacher gave them.
 */
export function distillation(student: Tensor, teacher: Tensor, statistics: ChannelStatistics, weights: DistillationWeights): Distillation {
  const target = standardise(teacher, statistics); // [batch, patches, channels]
  const error = sub(student, target);
  const mse = meanOf(mul(error, error));
  const perPosition = meanOf(cosine(student, target));
  const pooled = meanOf(cosine(reduceMean(student, [1], false), reduceMean(target, [1], false)));
  const loss = add(add(mul(mse, weights.mse), mul(oneMinus(perPosition), weights.cosine)), mul(oneMinus(pooled), weights.pooled));
  return { loss, loss_mse: mse, r2: oneMinus(div(mse, add(meanOf(mul(target, target)), TINY))), cosine: perPosition, cosine_pooled: pooled };
}

/** `(x - mean) / deviation` over the last axis. */
function standardise(x: Tensor, { mean, deviation }: ChannelStatistics): Tensor {
  const centre = constant(x, { dtype: 'float32', shape: [mean.length], data: mean });
  const scale = constant(x, { dtype: 'float32', shape: [deviation.length], data: deviation.map((value) => 1 / value) });
  return mul(sub(x, centre), scale);
}

/** Over the last axis. */
function cosine(a: Tensor, b: Tensor): Tensor {
  const dot = (x: Tensor, y: Tensor): Tensor => reduceSum(mul(x, y), [x.shape.length - 1], false);
  return div(dot(a, b), mul(sqrt(add(dot(a, a), TINY)), sqrt(add(dot(b, b), TINY))));
}

function meanOf(x: Tensor): Tensor {
  return reduceMean(x, x.shape.map((_, axis) => axis), false);
}

function oneMinus(x: Tensor): Tensor {
  return add(neg(x), 1);
}

/**
 * Statistics of rows `[…, channels]`. A channel that hardly moves gets a hundredth of the channels' mean deviation, so that
 * its noise is not blown up to the size of the others' signal.
 */
export function channelStatistics(rows: Float32Array, channels: number): ChannelStatistics {
  const [sum, squares] = [new Float64Array(channels), new Float64Array(channels)];
  for (let i = 0; i < rows.length; i++) {
    const value = rows[i]!;
    sum[i % channels]! += value;
    squares[i % channels]! += value * value;
  }
  const count = rows.length / channels;
  const mean = sum.map((total) => total / count);
  const deviation = squares.map((total, c) => Math.sqrt(Math.max(0, total / count - mean[c]! ** 2)));
  const least = Math.max(deviation.reduce((total, value) => total + value, 0) / channels / 100, 1e-6);
  return { mean: Float32Array.from(mean), deviation: Float32Array.from(deviation, (value) => Math.max(value, least)) };
}
