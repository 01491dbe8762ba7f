/** Operators that walk an axis: reductions, soft-max, running sums, ranking. */
import type { Call, Kernel, Kernels, ReferenceTensor } from './tensor.ts';
import { at, axisOf, build, eachIndex, input, intOf, numbersOf, refuse, withAxis } from './tensor.ts';

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const sumOfSquares = (values: readonly number[]): number => sum(values.map((x) => x * x));
const largest = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), -Infinity);

/** log Σ eˣ without overflow. */
function logSumExp(values: readonly number[]): number {
  const top = largest(values);
  return top === -Infinity ? -Infinity : top + Math.log(sum(values.map((x) => Math.exp(x - top))));
}

const reduce =
  (f: (values: readonly number[]) => number): Kernel =>
  (call) => {
    const x = input(call, 0);
    const given = numbersOf(call, 1, 'axes');
    if ((given === undefined || given.length === 0) && intOf(call, 'noop_with_empty_axes', 0) === 1) return [x];
    const all = x.shape.map((_, axis) => axis);
    const axes = given === undefined || given.length === 0 ? all : given.map((axis) => axisOf(axis, x.shape.length));
    const inner = axes.map((axis) => x.shape[axis]!);
    const kept = build(x.dtype, x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size)), (index) => {
      const [values, source] = [[] as number[], [...index]];
      eachIndex(inner, (position) => {
        axes.forEach((axis, i) => (source[axis] = position[i]!));
        values.push(at(x, source));
      });
      return f(values);
    });
    return [intOf(call, 'keepdims', 1) === 1 ? kept : { ...kept, shape: x.shape.filter((_, axis) => !axes.includes(axis)) }];
  };

/** The values of `x` along `axis` through `index`. */
export function lineOf(x: ReferenceTensor, axis: number, index: readonly number[]): number[] {
  return Array.from({ length: x.shape[axis] ?? 1 }, (_, i) => at(x, withAxis(index, axis, i)));
}

const alongAxis =
  (f: (value: number, line: readonly number[]) => number): Kernel =>
  (call) => {
    const x = input(call, 0);
    const axis = axisOf(intOf(call, 'axis', -1), x.shape.length);
    return [build(x.dtype, x.shape, (index) => f(at(x, index), lineOf(x, axis, index)))];
  };

/** Index of the best value; the first of equals, unless the last is asked for. */
const argBest =
  (isBetter: (a: number, b: number) => boolean): Kernel =>
  (call) => {
    const x = input(call, 0);
    const axis = axisOf(intOf(call, 'axis', 0), x.shape.length);
    const wantsLast = intOf(call, 'select_last_index', 0) === 1;
    const kept = build('int64', withAxis(x.shape, axis, 1), (index) => {
      const line = lineOf(x, axis, index);
      return line.reduce((best, value, i) => (isBetter(value, line[best]!) || (wantsLast && value === line[best]) ? i : best), 0);
    });
    return [intOf(call, 'keepdims', 1) === 1 ? kept : { ...kept, shape: x.shape.filter((_, i) => i !== axis) }];
  };

function topK(call: Call): ReferenceTensor[] {
  const x = input(call, 0);
  const axis = axisOf(intOf(call, 'axis', -1), x.shape.length);
  const k = input(call, 1).data[0] ?? 0;
  const sign = intOf(call, 'largest', 1) === 1 ? 1 : -1;
  if (k > (x.shape[axis] ?? 0)) throw refuse(call, `k = ${k} is more than there is.`);
  const indices = build('int64', withAxis(x.shape, axis, k), (index) => {
    const line = lineOf(x, axis, index);
    const order = line.map((_, i) => i).sort((p, q) => sign * (line[q]! - line[p]!) || p - q);
    return order[index[axis]!]!;
  });
  return [build(x.dtype, indices.shape, (index) => at(x, withAxis(index, axis, at(indices, index)))), indices];
}

function cumSum(call: Call): ReferenceTensor[] {
  const x = input(call, 0);
  const axis = axisOf(input(call, 1).data[0] ?? 0, x.shape.length);
  const [isExclusive, isReverse] = [intOf(call, 'exclusive', 0) === 1, intOf(call, 'reverse', 0) === 1];
  return [
    build(x.dtype, x.shape, (index) => {
      const [line, here] = [lineOf(x, axis, index), index[axis]!];
      if (isReverse) return sum(line.slice(isExclusive ? here + 1 : here));
      return sum(line.slice(0, isExclusive ? here : here + 1));
    }),
  ];
}

export const REDUCTIONS: Kernels = {
  ReduceSum: reduce(sum),
  ReduceMean: reduce((values) => sum(values) / values.length),
  ReduceMax: reduce(largest),
  ReduceMin: reduce((values) => values.reduce((a, b) => Math.min(a, b), Infinity)),
  ReduceProd: reduce((values) => values.reduce((a, b) => a * b, 1)),
  ReduceL1: reduce((values) => sum(values.map(Math.abs))),
  ReduceL2: reduce((values) => Math.sqrt(sumOfSquares(values))),
  ReduceSumSquare: reduce(sumOfSquares),
  ReduceLogSumExp: reduce(logSumExp),
  Softmax: alongAxis((value, line) => {
    const most = largest(line);
    return Math.exp(value - most) / sum(line.map((x) => Math.exp(x - most)));
  }),
  LogSoftmax: alongAxis((value, line) => value - logSumExp(line)),
  ArgMax: argBest((a, b) => a > b),
  ArgMin: argBest((a, b) => a < b),
  TopK: topK,
  CumSum: cumSum,
};
