/** Matrix products. Four fifths of all time is spent here: keep them large. */
import type { Attribute, Tensor } from '@querent/core';
import { float, int, op1 } from './op.ts';

/** `a @ b` over the last two axes, the others broadcast. */
export function matMul(a: Tensor, b: Tensor): Tensor {
  return op1('MatMul', [a, b]);
}

export interface FusedMatMulOptions {
  /** Swap the last two axes of `a` first. */
  readonly transA?: boolean;
  readonly transB?: boolean;
  /** Multiplies the result. Default 1. */
  readonly alpha?: number;
}

/** com.microsoft's MatMul with transposes and a factor: no Transpose node is needed. */
export function fusedMatMul(a: Tensor, b: Tensor, options: FusedMatMulOptions = {}): Tensor {
  return op1('FusedMatMul', [a, b], {
    domain: 'com.microsoft',
    attributes: {
      transA: int(options.transA === true ? 1 : 0),
      transB: int(options.transB === true ? 1 : 0),
      alpha: float(options.alpha ?? 1),
    },
  });
}

export interface GemmOptions {
  readonly transA?: boolean;
  readonly transB?: boolean;
  readonly alpha?: number;
  readonly beta?: number;
}

/** `alpha * a' @ b' + beta * c` of matrices; `c` broadcasts. */
export function gemm(a: Tensor, b: Tensor, c: Tensor | null = null, options: GemmOptions = {}): Tensor {
  const attributes: Record<string, Attribute> = {
    transA: int(options.transA === true ? 1 : 0),
    transB: int(options.transB === true ? 1 : 0),
  };
  if (options.alpha !== undefined) attributes['alpha'] = float(options.alpha);
  if (options.beta !== undefined) attributes['beta'] = float(options.beta);
  return op1('Gemm', c === null ? [a, b] : [a, b, c], { attributes });
}

/**
 * `x @ weight * scales + bias` in integers of 8 bits (com.microsoft's DynamicQuantizeMatMul): `x` is quantised when it comes, the whole tensor by
 * one scale and zero point; weights have a scale for each column.
 *
 * @param x float32 [..., in]
 * @param weight int8 [in, out]
 * @param scales float32 [out]
 */
export function dynamicQuantizeMatMul(x: Tensor, weight: Tensor, scales: Tensor, bias: Tensor | null = null): Tensor {
  return op1('DynamicQuantizeMatMul', [x, weight, scales, null, bias], { domain: 'com.microsoft' });
}
