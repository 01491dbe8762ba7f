/** Elementwise operators and comparisons, with NumPy broadcasting. One function per ONNX operator. */
import type { DType, Tensor } from '@querent/core';
import { ONNX_DTYPE } from '../shape.ts';
import type { Operand } from './op.ts';
import { int, op1, operands, scalar, text } from './op.ts';

type Unary = (x: Tensor) => Tensor;
type Binary = (a: Operand, b: Operand) => Tensor;

const unary =
  (opType: string): Unary =>
  (x) =>
    op1(opType, [x]);
const binary =
  (opType: string): Binary =>
  (a, b) =>
    op1(opType, operands(a, b));

export const add: Binary = binary('Add');
export const sub: Binary = binary('Sub');
export const mul: Binary = binary('Mul');
export const div: Binary = binary('Div');
export const pow: Binary = binary('Pow');
export const min: Binary = binary('Min');
export const max: Binary = binary('Max');

export const equal: Binary = binary('Equal');
export const less: Binary = binary('Less');
export const greater: Binary = binary('Greater');
export const lessOrEqual: Binary = binary('LessOrEqual');
export const greaterOrEqual: Binary = binary('GreaterOrEqual');

export const neg: Unary = unary('Neg');
export const abs: Unary = unary('Abs');
export const sign: Unary = unary('Sign');
export const sqrt: Unary = unary('Sqrt');
export const exp: Unary = unary('Exp');
export const log: Unary = unary('Log');
export const erf: Unary = unary('Erf');
export const tanh: Unary = unary('Tanh');
export const sigmoid: Unary = unary('Sigmoid');
export const relu: Unary = unary('Relu');
export const reciprocal: Unary = unary('Reciprocal');
export const sin: Unary = unary('Sin');
export const cos: Unary = unary('Cos');
export const not: Unary = unary('Not');
export const identity: Unary = unary('Identity');

export function and(a: Tensor, b: Tensor): Tensor {
  return op1('And', [a, b]);
}

export function or(a: Tensor, b: Tensor): Tensor {
  return op1('Or', [a, b]);
}

/** Gaussian error linear unit: exact (erf) or its tanh approximation (`gelu_new`, `gelu_pytorch_tanh`). */
export function gelu(x: Tensor, approximate: 'none' | 'tanh' = 'none'): Tensor {
  return op1('Gelu', [x], { attributes: { approximate: text(approximate) } });
}

/** Bounds `x`; an absent bound does not bind. */
export function clip(x: Tensor, low?: number, high?: number): Tensor {
  return op1('Clip', [x, low === undefined ? null : scalar(x, low, x.dtype), high === undefined ? null : scalar(x, high, x.dtype)]);
}

/** `condition ? a : b`, elementwise. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  return op1('Where', [condition, ...operands(a, b)]);
}

/** To another dtype; the tensor itself when it has it already. */
export function cast(x: Tensor, dtype: DType): Tensor {
  return x.dtype === dtype ? x : op1('Cast', [x], { attributes: { to: int(ONNX_DTYPE[dtype]) } });
}
