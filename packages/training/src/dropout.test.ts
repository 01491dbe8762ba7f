import { float32 } from '@querent/core';
import { createGraph, dimTerms } from '@querent/graph';
import { expect, it } from 'vitest';
import { randomAt } from './data/batches.ts';
import { createDropout, createMaskPool, evaluateDim } from './dropout.ts';
import { runGraph } from './engine.test-helper.ts';

it('takes a stretch of the mask of its own for each place', async () => {
  const g = createGraph('dropout');
  const dropout = createDropout(g);
  const x = g.input('x', 'float32', ['batch', 2]);
  const y = g.input('y', 'float32', ['batch', 'tokens', 2]);
  g.output('a', dropout.apply(x));
  g.output('b', dropout.apply(y));
  const terms = dimTerms(dropout.elements());
  expect(evaluateDim(terms, { batch: 2, tokens: 3 })).toBe(2 * 2 + 2 * 3 * 2);

  const mask = Float32Array.from({ length: 16 }, (_, i) => i);
  const outputs = await runGraph(g, { x: float32([2, 2], [1, 1, 1, 1]), y: float32([2, 3, 2], new Float32Array(12).fill(1)), dropout_mask: float32([16], mask) });
  expect([...(outputs['a']!.data as Float32Array)]).toEqual([...mask.subarray(0, 4)]);
  expect([...(outputs['b']!.data as Float32Array)]).toEqual([...mask.subarray(4)]);
});

it('drops the share that it is told and keeps the mean', () => {
  const { data } = createMaskPool(0.1, 100_000, randomAt(1)).take(100_000, randomAt(2));
  const mean = data.reduce((sum, value) => sum + value, 0) / data.length;
  const dropped = data.filter((value) => value === 0).length / data.length;
  expect(mean).toBeCloseTo(1, 1.7);
  expect(dropped).toBeCloseTo(0.1, 1.7);
  expect(new Set(data)).toEqual(new Set([0, Math.fround(1 / 0.9)]));
});

it('is all ones at rate 0, and the same stretch for the same draw', () => {
  expect(createMaskPool(0, 10, randomAt(1)).take(10, randomAt(1)).data).toEqual(new Float32Array(10).fill(1));
  const pool = createMaskPool(0.5, 64, randomAt(1));
  expect(pool.take(64, randomAt(9)).data).toEqual(pool.take(64, randomAt(9)).data);
  expect(pool.take(64, randomAt(9)).data).not.toEqual(pool.take(64, randomAt(10)).data);
});

it('says that a dim whose name is not known has no size', () => {
  expect(evaluateDim(dimTerms('2 * batch'), {})).toBeNaN();
});
