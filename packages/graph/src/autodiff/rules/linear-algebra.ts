/** Gradients of matrix products. Transposes ride in FusedMatMul and Gemm, so none is ever materialised. */
import type { Tensor } from '@querent/core';
import { mul } from '../../ops/elementwise.ts';
import { fusedMatMul, gemm } from '../../ops/linear-algebra.ts';
import { reshape } from '../../ops/shaping.ts';
import type { GradientRule, RuleContext } from '../rule.ts';
import { floatOf, intOf, unbroadcast } from '../rule.ts';
import { recomputed } from './elementwise.ts';

/** One product `alpha · op(p) op(q)`, of matrices or batches of them. */
type Product = (p: Tensor, transP: boolean, q: Tensor, transQ: boolean) => Tensor;

/**
 * Y = α op(A) op(B). With A' = op(A), B' = op(B): dA' = α dY B'ᵀ and dB' = α A'ᵀ dY; a transposed operand gets the
 * transpose of that, which is the same product with its factors swapped.
 */
function productGradients(c: RuleContext, transA: boolean, transB: boolean, product: Product): [Tensor | null, Tensor | null] {
  const [b, dy] = [c.x(1), c.dy(0)!];
  const da = (): Tensor => (transA ? product(b, transB, dy, true) : product(dy, false, b, !transB));
  const db = (): Tensor => {
    const a = c.needs(0) ? recomputed(c.x(0)) : c.x(0);
    return transB ? product(dy, true, a, transA) : product(a, !transA, dy, false);
  };
  return [c.needs(0) ? da() : null, c.needs(1) ? db() : null];
}

function batchedGradients(c: RuleContext, transA: boolean, transB: boolean, alpha: number): (Tensor | null)[] {
  const [a, b] = [c.x(0), c.x(1)];
  const product: Product = (p, transP, q, transQ) => fusedMatMul(p, q, { transA: transP, transB: transQ, alpha });
  if (!transA && b.shape.length === 2 && a.shape.length > 2) {
    // A stack of rows against one matrix: the weight's gradient is one Gemm over all rows, not a sum over the stack.
    const dy = c.dy(0)!;
    const da = c.needs(0) ? fusedMatMul(dy, b, { transB: !transB, alpha }) : null;
    const rows = (x: Tensor): Tensor => reshape(x, [-1, x.shape.at(-1)!]);
    const db = !c.needs(1) ? null : transB ? gemm(rows(dy), rows(a), null, { transA: true, alpha }) : gemm(rows(a), rows(dy), null, { transA: true, alpha });
    return [da, db];
  }
  const [da, db] = productGradients(c, transA, transB, product);
  return [da === null ? null : unbroadcast(da, a.shape), db === null ? null : unbroadcast(db, b.shape)];
}

export const linearAlgebraRules: Readonly<Record<string, GradientRule>> = {
  MatMul: (c) => batchedGradients(c, false, false, 1),
  FusedMatMul: (c) => batchedGradients(c, intOf(c.node, 'transA', 0) === 1, intOf(c.node, 'transB', 0) === 1, floatOf(c.node, 'alpha', 1)),
  Gemm: (c) => {
    const [transA, transB] = [intOf(c.node, 'transA', 0) === 1, intOf(c.node, 'transB', 0) === 1];
    const [alpha, beta] = [floatOf(c.node, 'alpha', 1), floatOf(c.node, 'beta', 1)];
    const product: Product = (p, transP, q, transQ) => gemm(p, q, null, alpha === 1 ? { transA: transP, transB: transQ } : { transA: transP, transB: transQ, alpha });
    const [da, db] = productGradients(c, transA, transB, product);
    if (c.node.inputs.length < 3 || !c.needs(2)) return [da, db, null];
    const dc = unbroadcast(c.dy(0)!, c.x(2).shape);
    return [da, db, beta === 1 ? dc : mul(dc, beta)];
  },
};
