/** Operators that walk an axis: reductions, soft-max, running sums, ranking. */
import type { Tensor as TfTensor } from '@tensorflow/tfjs-core';
import type { Tf } from '../tf.ts';
import type { Call, Kernel, Kernels } from './call.ts';
import { axisLast, axisOf, failed, input, intOf, numbersAt, numbersOr, plain } from './call.ts';

const reduce =
  (f: (tf: Tf, x: TfTensor, axes: number[], keep: boolean) => TfTensor): Kernel =>
  (call) => {
    const x = input(call, 0);
    const given = numbersOr(call, 1, 'axes');
    const isEmpty = given === undefined || given.length === 0;
    if (isEmpty && intOf(call.node, 'noop_with_empty_axes', 0) === 1) return [call.tf.clone(x)];
    const axes = isEmpty ? [...x.shape.keys()] : given.map((axis) => axisOf(axis, x.rank));
    return [f(call.tf, x, axes, intOf(call.node, 'keepdims', 1) === 1)];
  };

/** log p = x - max - log Σ e^(x - max) */
export function logSoftmax(tf: Tf, x: TfTensor, axis: number): TfTensor {
  const shifted = tf.sub(x, tf.max(x, axis, true));
  return tf.sub(shifted, tf.log(tf.sum(tf.exp(shifted), axis, true)));
}

function softmax(call: Call): readonly TfTensor[] {
  const { tf } = call;
  const x = input(call, 0);
  const axis = axisOf(intOf(call.node, 'axis', -1), x.rank);
  if (axis === x.rank - 1) return [softmaxOfRows(tf, x)];
  const { there, back } = axisLast(x.rank, axis);
  return [tf.transpose(softmaxOfRows(tf, tf.transpose(x, there)), back)];
}

/** WebGPU's kernel holds -3.402823e38 for the least float32, so rows of the true least one (all masked) come out as NaN: their largest becomes 0. */
function softmaxOfRows(tf: Tf, x: TfTensor): TfTensor {
  return tf.softmax(tf.getBackend() === 'webgpu' ? tf.sub(x, tf.max(x, -1, true)) : x);
}

const argBest =
  (isLargest: boolean): Kernel =>
  (call) => {
    const { tf } = call;
    const x = input(call, 0);
    const axis = axisOf(intOf(call.node, 'axis', 0), x.rank);
    const wantsLast = intOf(call.node, 'select_last_index', 0) === 1;
    const seen = wantsLast ? tf.reverse(x, axis) : x;
    const best = isLargest ? tf.argMax(seen, axis) : tf.argMin(seen, axis);
    const index = wantsLast ? tf.sub(tf.scalar((x.shape[axis] ?? 1) - 1, 'int32'), best) : best;
    return [intOf(call.node, 'keepdims', 1) === 1 ? tf.expandDims(index, axis) : index];
  };

function topK(call: Call): readonly TfTensor[] {
  const { tf } = call;
  const x = input(call, 0);
  const axis = axisOf(intOf(call.node, 'axis', -1), x.rank);
  const k = numbersAt(call, 1)[0] ?? 0;
  if (k > (x.shape[axis] ?? 0)) throw failed(call, `k = ${k} is more than there is.`);
  const isLargest = intOf(call.node, 'largest', 1) === 1;
  const { there, back } = axisLast(x.rank, axis);
  const moved = axis === x.rank - 1 ? x : tf.transpose(x, there);
  const { values, indices } = tf.topk(isLargest ? moved : tf.neg(moved), k, true);
  const restored = (y: TfTensor): TfTensor => (axis === x.rank - 1 ? y : tf.transpose(y, back));
  return [restored(isLargest ? values : tf.neg(values)), restored(indices)];
}

export const REDUCTIONS: Kernels = plain({
  ReduceSum: reduce((tf, x, axes, keep) => tf.sum(x, axes, keep)),
  ReduceMean: reduce((tf, x, axes, keep) => tf.mean(x, axes, keep)),
  ReduceMax: reduce((tf, x, axes, keep) => tf.max(x, axes, keep)),
  ReduceMin: reduce((tf, x, axes, keep) => tf.min(x, axes, keep)),
  ReduceProd: reduce((tf, x, axes, keep) => tf.prod(x, axes, keep)),
  ReduceL1: reduce((tf, x, axes, keep) => tf.sum(tf.abs(x), axes, keep)),
  ReduceL2: reduce((tf, x, axes, keep) => tf.sqrt(tf.sum(tf.square(x), axes, keep))),
  ReduceSumSquare: reduce((tf, x, axes, keep) => tf.sum(tf.square(x), axes, keep)),
  ReduceLogSumExp: reduce((tf, x, axes, keep) => tf.logSumExp(x, axes, keep)),
  Softmax: softmax,
  LogSoftmax: (call) => {
    const x = input(call, 0);
    return [logSoftmax(call.tf, x, axisOf(intOf(call.node, 'axis', -1), x.rank))];
  },
  ArgMax: argBest(true),
  ArgMin: argBest(false),
  TopK: topK,
  CumSum: (call) => {
    const x = input(call, 0);
    const axis = axisOf(numbersAt(call, 1)[0] ?? 0, x.rank);
    return [call.tf.cumsum(x, axis, intOf(call.node, 'exclusive', 0) === 1, intOf(call.node, 'reverse', 0) === 1)];
  },
});
