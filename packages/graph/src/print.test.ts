import { float32 } from '@querent/core';
import { expect, test } from 'vitest';
import { createGraph } from './graph.ts';
import { gelu, mul } from './ops/elementwise.ts';
import { fusedMatMul, gemm } from './ops/linear-algebra.ts';
import { constant, op } from './ops/op.ts';
import { reduceSum } from './ops/reductions.ts';
import { printGraph, printNode } from './print.ts';

function network() {
  const g = createGraph('small');
  const x = g.input('x', 'float32', ['batch', 3]);
  const y = gemm(x, g.scope('head').parameter('weight', [2000, 3]), null, { transB: true });
  g.output('sum', reduceSum(mul(gelu(y, 'tanh'), 0.1), [-1], false));
  return g.graph;
}

test('a graph prints as one line for each input, parameter, node and output', () => {
  expect(printGraph(network())).toBe(
    [
      'graph small (6,000 parameters in 1 tensor)',
      '  input x: float32 [batch, 3]',
      '  parameter head.weight: float32 [2000, 3]',
      '  Gemm_0: float32 [batch, 2000] = Gemm(x, head.weight, transA=0, transB=1)',
      '  Gelu_1: float32 [batch, 2000] = Gelu(Gemm_0, approximate="tanh")',
      '  Mul_3: float32 [batch, 2000] = Mul(Gelu_1, 0.1)',
      '  ReduceSum_5: float32 [batch] = ReduceSum(Mul_3, [-1], keepdims=0)',
      '  output sum = ReduceSum_5',
    ].join('\n'),
  );
});

test('long graphs and large constants are cut', () => {
  expect(printGraph(network(), { maxNodes: 1 })).toContain('… 3 more nodes');
  const g = createGraph('constants');
  const x = g.input('x', 'float32', [2, 50]);
  const table = constant(g, float32([2, 50], Array.from({ length: 100 }, (_, i) => i)));
  const [product] = [fusedMatMul(x, table, { transB: true })];
  expect(printNode(g.graph.producer(product)!)).toBe(
    'FusedMatMul_1: float32 [2, 2] = com.microsoft.FusedMatMul(x, [2, 50] [0, 1, 2, 3, 4, 5, 6, 7, … 92 more], transA=0, transB=1, alpha=1)',
  );
});

test('missing inputs, several outputs and every attribute are shown', () => {
  const g = createGraph('odd');
  const x = g.input('x', 'int64', [2]);
  const [a] = op('Mystery', [x, null], {
    domain: 'com.example',
    outputs: [{ dtype: 'bool', shape: [] }, { dtype: 'float32', shape: ['n'] }],
    attributes: {
      s: { type: 'strings', value: ['p', 'q'] },
      f: { type: 'floats', value: [0.5] },
      t: { type: 'tensor', value: { dtype: 'float16', shape: [2], data: new Uint16Array(2) } },
      e: { type: 'float', value: Math.fround(1e-5) },
    },
  });
  expect(printNode(g.graph.producer(a!)!)).toBe(
    'Mystery_0: bool [], Mystery_0:1: float32 [n] = com.example.Mystery(x, _, s=["p", "q"], f=[0.5], t=float16 [2], e=0.00001)',
  );
});
