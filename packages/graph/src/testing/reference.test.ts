import type { DType, TensorData } from '@querent/core';
import { describe, expect, test } from 'vitest';
import { runOnnx } from '../../test/onnxruntime.ts';
import { OPERATOR_CASES, f, graphOf } from '../../test/operator-cases.ts';
import { createGraph } from '../graph.ts';
import { linear } from '../layers.ts';
import { add, erf as erfOf, mul, tanh } from '../ops/elementwise.ts';
import { op } from '../ops/op.ts';
import { reduceSum } from '../ops/reductions.ts';
import { writeOnnx } from '../onnx/write.ts';
import { erf } from './reference/elementwise.ts';
import { REFERENCE_KERNELS, interpret } from './reference.ts';

describe('every operator of the reference agrees with onnxruntime', () => {
  test.each(OPERATOR_CASES.map((sample, n) => [`${n} ${sample.domain ?? ''} ${sample.op}`, sample] as const))('%s', async (_, sample) => {
    const { graph, feeds } = graphOf(sample);
    const expected = await runOnnx(writeOnnx(graph), feeds);
    for (const [name, { dtype, shape, data }] of interpret(graph, feeds)) {
      const there = expected[name]!;
      expect({ name, dtype: there.dtype, shape: [...there.shape] }).toEqual({ name, dtype, shape: [...shape] });
      const values = Array.from(there.data as ArrayLike<number | bigint>, Number);
      const scale = Math.max(1, ...values.map(Math.abs));
      // float32 arithmetic against float64: a few units in the last place of the largest value
      values.forEach((value, n) => expect(Math.abs(value - data[n]!) / scale, `${name}[${n}]: ${value} against ${data[n]}`).toBeLessThan(sample.tolerance ?? 5e-6));
    }
  });

  test('and no operator is left out', () => {
    expect(Object.keys(REFERENCE_KERNELS).filter((name) => !OPERATOR_CASES.some((sample) => sample.op === name))).toEqual([]);
  });
});

test('erf is good to float64', () => {
  // Abramowitz and Stegun, table 7.1, and tails
  const known: [number, number][] = [[0.5, 0.520499877813], [1, 0.842700792949715], [2, 0.995322265018953], [3.5, 0.999999256901628], [-1, -0.842700792949715], [7, 1], [0, 0]];
  for (const [x, y] of known) expect(erf(x)).toBeCloseTo(y, 11);
});

test('float64 feeds are not rounded: a central difference is exact to nine digits', () => {
  const g = createGraph('difference');
  const x = g.input('x', 'float32', ['n', 3]);
  g.output('loss', reduceSum(mul(tanh(linear(g.scope('head'), x, 2)), erfOf(linear(g.scope('gate'), x, 2))), [0, 1], false));
  const parameters = new Map([...g.graph.parameters.values()].map(({ name, shape }) => [name, f(...shape)] as const));
  const at = (value: number): number => {
    const feed: TensorData = { dtype: 'float64', shape: [1, 3], data: Float64Array.of(value, 0.25, -0.5) };
    return interpret(g.graph, { x: feed }, parameters).get('loss')!.data[0]!;
  };
  const difference = (h: number): number => (at(0.3 + h) - at(0.3 - h)) / (2 * h);
  const best = (4 * difference(1e-3) - difference(2e-3)) / 3; // Richardson
  expect(Math.abs(difference(1e-5) - best)).toBeLessThan(1e-9);
});

test('a feed under a parameter’s name goes before the parameters; half precision is decoded', () => {
  const g = createGraph('feeds');
  const w = g.parameter('w', [3]);
  g.output('y', add(w, 0));
  const half: TensorData = { dtype: 'float16', shape: [3], data: Uint16Array.of(0x3c00, 0xc100, 0x0001) };
  const brain: TensorData = { dtype: 'bfloat16', shape: [3], data: Uint16Array.of(0x3f80, 0xc020, 0x7f80) };
  expect(Array.from(interpret(g.graph, {}, new Map([['w', half]])).get('y')!.data)).toEqual([1, -2.5, 2 ** -24]);
  expect(Array.from(interpret(g.graph, { w: brain }, new Map([['w', half]])).get('y')!.data)).toEqual([1, -2.5, Infinity]);
});

test('missing and misshaped feeds, missing parameters and unknown operators have their codes', () => {
  const g = createGraph('errors');
  const x = g.input('x', 'float32', ['n', 2]);
  g.output('y', linear(g, x, 2));
  g.output('z', op('Mystery', [x], { outputs: [{ dtype: 'float32' satisfies DType, shape: [2] }] })[0]!);
  const code = (name: string, feeds: Record<string, TensorData>): (() => unknown) => () => interpret(g.graph, feeds, new Map(), { outputs: [name] });
  expect(code('y', {})).toThrow(expect.objectContaining({ code: 'QRT_ENGINE_FEED' }));
  expect(code('y', { x: f(2, 3) })).toThrow(expect.objectContaining({ code: 'QRT_ENGINE_FEED' }));
  expect(code('y', { x: f(2, 2) })).toThrow(expect.objectContaining({ code: 'QRT_CHECKPOINT_MISMATCH' }));
  expect(code('z', { x: f(2, 2) })).toThrow(expect.objectContaining({ code: 'QRT_ENGINE_COMPILE' }));
  expect(code('w', {})).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
});
