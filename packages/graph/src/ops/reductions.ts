/** Operators that reduce an axis, and their relatives. Axes may be negative. */
import type { Tensor } from '@querent/core';
import { int, intVector, op, op1, scalar } from './op.ts';

type Reduction = (x: Tensor, axes: readonly number[], keepDims?: boolean) => Tensor;

const reduction =
  (opType: string): Reduction =>
  (x, axes, keepDims = true) =>
    op1(opType, [x, intVector(x, axes)], { attributes: { keepdims: int(keepDims ? 1 : 0) } });

export const reduceSum: Reduction = reduction('ReduceSum');
export const reduceMean: Reduction = reduction('ReduceMean');
export const reduceMax: Reduction = reduction('ReduceMax');

export function argMax(x: Tensor, axis: number, keepDims = false): Tensor {
  return op1('ArgMax', [x], { attributes: { axis: int(axis), keepdims: int(keepDims ? 1 : 0) } });
}

/** The `k` largest along an axis, sorted: `[values, indices]`. */
export function topK(x: Tensor, k: number, axis = -1): [Tensor, Tensor] {
  const [values, indices] = op('TopK', [x, intVector(x, [k])], { attributes: { axis: int(axis) } });
  return [values!, indices!];
}

/** Running sums along an axis, the element itself included. */
export function cumSum(x: Tensor, axis: number): Tensor {
  return op1('CumSum', [x, scalar(x, axis, 'int64')]);
}
