/** Matrix products, each a triple loop. */
import type { Call, Kernels, ReferenceTensor } from './tensor.ts';
import { broadcast, broadcastAt, build, floatOf, input, intOf, refuse } from './tensor.ts';

/** `x` with its last two axes swapped. */
function swapLast(x: ReferenceTensor): ReferenceTensor {
  const [rows, columns] = [x.shape.at(-2)!, x.shape.at(-1)!]; // callers have checked the rank
  return build(x.dtype, [...x.shape.slice(0, -2), columns, rows], (index) => {
    const source = [...index.slice(0, -2), index.at(-1)!, index.at(-2)!];
    return broadcastAt(x, source);
  });
}

/** numpy.matmul: vectors become a row (left) or a column (right) and lose that axis again. */
function product(call: Call, left: ReferenceTensor, right: ReferenceTensor, alpha: number): ReferenceTensor {
  const a = left.shape.length === 1 ? { ...left, shape: [1, ...left.shape] } : left;
  const b = right.shape.length === 1 ? { ...right, shape: [...right.shape, 1] } : right;
  const [rows, inner, columns] = [a.shape.at(-2), a.shape.at(-1), b.shape.at(-1)];
  if (rows === undefined || inner === undefined || columns === undefined || inner !== b.shape.at(-2)) {
    throw refuse(call, 'the inner dims differ.');
  }
  const lead = broadcast(call, [a.shape.slice(0, -2), b.shape.slice(0, -2)]);
  const result = build(a.dtype, [...lead, rows, columns], (index) => {
    const [p, q] = [[...index], [...index]];
    let sum = 0;
    for (let k = 0; k < inner; k++) {
      p[p.length - 1] = k;
      q[q.length - 2] = k;
      sum += broadcastAt(a, p) * broadcastAt(b, q);
    }
    return alpha * sum;
  });
  const shape = [...lead, ...(left.shape.length === 1 ? [] : [rows]), ...(right.shape.length === 1 ? [] : [columns])];
  return { ...result, shape };
}

function oriented(call: Call, index: number, name: string): ReferenceTensor {
  const x = input(call, index);
  return intOf(call, name, 0) === 1 && x.shape.length > 1 ? swapLast(x) : x;
}

/** A tensor as the integers 0 … 255 that DynamicQuantizeLinear gives it, less the zero point, and what one of them stands for. */
function quantised(x: ReferenceTensor): { readonly steps: ReferenceTensor; readonly scale: number } {
  // The range always holds 0, which is then exact.
  const least = x.data.reduce((a, b) => Math.min(a, b), 0);
  const most = x.data.reduce((a, b) => Math.max(a, b), 0);
  const scale = Math.fround(most === least ? 1 : (most - least) / 255);
  const clamped = (value: number): number => Math.min(255, Math.max(0, value));
  const zero = clamped(halfToEven(-least / scale));
  return { steps: { ...x, data: x.data.map((value) => clamped(halfToEven(value / scale) + zero) - zero) }, scale };
}

function halfToEven(value: number): number {
  const rounded = Math.round(value);
  return Math.abs(value - Math.trunc(value)) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

export const LINEAR_ALGEBRA: Kernels = {
  MatMul: (call) => [product(call, input(call, 0), input(call, 1), 1)],
  FusedMatMul: (call) => {
    if (intOf(call, 'transBatchA', 0) === 1 || intOf(call, 'transBatchB', 0) === 1) throw refuse(call, 'transBatchA and transBatchB are not known.');
    return [product(call, oriented(call, 0, 'transA'), oriented(call, 1, 'transB'), floatOf(call, 'alpha', 1))];
  },
  Gemm: (call) => {
    const y = product(call, oriented(call, 0, 'transA'), oriented(call, 1, 'transB'), floatOf(call, 'alpha', 1));
    const c = call.inputs[2];
    const beta = floatOf(call, 'beta', 1);
    return [c === undefined ? y : build(y.dtype, y.shape, (index) => broadcastAt(y, index) + beta * broadcastAt(c, index))];
  },
  DynamicQuantizeMatMul: (call) => {
    const { steps, scale } = quantised(input(call, 0));
    const [weight, scales, zeros, bias] = [input(call, 1), input(call, 2), call.inputs[3], call.inputs[4]];
    const centred = zeros === undefined ? weight : build(weight.dtype, weight.shape, (index) => broadcastAt(weight, index) - broadcastAt(zeros, index));
    const y = product(call, steps, centred, scale);
    return [build('float32', y.shape, (index) => broadcastAt(y, index) * broadcastAt(scales, index) + (bias === undefined ? 0 : broadcastAt(bias, index)))];
  },
};
