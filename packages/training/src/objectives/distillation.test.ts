import { float32 } from '@querent/core';
import { createGraph } from '@querent/graph';
import { expect, it } from 'vitest';
import { randomAt } from '../data/batches.ts';
import { runGraph, scalarOf } from '../engine.test-helper.ts';
import { channelStatistics, distillation } from './distillation.ts';

const SHAPE = [2, 3, 4] as const;
const WEIGHTS = { mse: 1, cosine: 0.5, pooled: 0.25 };

function normals(seed: number): Float32Array {
  const random = randomAt(seed);
  return Float32Array.from({ length: 24 }, () => random.normal());
}

async function losses(student: Float32Array, teacher: Float32Array): Promise<Record<'loss' | 'loss_mse' | 'r2' | 'cosine' | 'cosine_pooled', number>> {
  const g = createGraph('distillation');
  const inputs = [g.input('student', 'float32', SHAPE), g.input('teacher', 'float32', SHAPE)] as const;
  const result = distillation(...inputs, channelStatistics(teacher, 4), WEIGHTS);
  for (const [name, tensor] of Object.entries(result)) g.output(name, tensor);
  const outputs = await runGraph(g, { student: float32([...SHAPE], student), teacher: float32([...SHAPE], teacher) });
  const [loss, loss_mse, r2, cosine, cosine_pooled] = ['loss', 'loss_mse', 'r2', 'cosine', 'cosine_pooled'].map((name) => scalarOf(outputs, name)) as [number, number, number, number, number]; // five names in, five out
  return { loss, loss_mse, r2, cosine, cosine_pooled };
}

function standardised(teacher: Float32Array): Float32Array {
  const { mean, deviation } = channelStatistics(teacher, 4);
  return teacher.map((value, i) => (value - mean[i % 4]!) / deviation[i % 4]!);
}

const cosineOf = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  const dot = (x: ArrayLike<number>, y: ArrayLike<number>): number => Array.from(x, (value, i) => value * y[i]!).reduce((sum, value) => sum + value);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
};
const average = (values: readonly number[]): number => values.reduce((sum, value) => sum + value) / values.length;

it('is nothing for the target itself', async () => {
  const teacher = normals(1).map((value, i) => 5 * value + i);
  const result = await losses(standardised(teacher), teacher);
  expect(result.loss).toBeCloseTo(0, 5);
  expect(result.r2).toBeCloseTo(1, 5);
  expect(result.cosine).toBeCloseTo(1, 5);
});

it('explains nothing with the mean of all pictures', async () => {
  const result = await losses(new Float32Array(24), normals(1));
  expect(result.r2).toBeCloseTo(0, 4);
  expect(result.cosine).toBe(0);
});

it('is the sum of its parts, each as plain loops have it', async () => {
  const [student, teacher] = [normals(2), normals(3)];
  const target = standardised(teacher);
  const rows = Array.from({ length: 6 }, (_, i) => [student.subarray(i * 4, i * 4 + 4), target.subarray(i * 4, i * 4 + 4)] as const);
  const pooled = (values: Float32Array, image: number): number[] => [0, 1, 2, 3].map((c) => average([0, 1, 2].map((p) => values[image * 12 + p * 4 + c]!)));
  const mse = average([...student].map((value, i) => (value - target[i]!) ** 2));
  const cosine = average(rows.map(([a, b]) => cosineOf(a, b)));
  const cosinePooled = average([0, 1].map((image) => cosineOf(pooled(student, image), pooled(target, image))));
  const result = await losses(student, teacher);
  expect(result.loss_mse).toBeCloseTo(mse, 4);
  expect(result.r2).toBeCloseTo(1 - mse / average([...target].map((value) => value ** 2)), 4);
  expect(result.cosine).toBeCloseTo(cosine, 4);
  expect(result.cosine_pooled).toBeCloseTo(cosinePooled, 4);
  expect(result.loss).toBeCloseTo(mse + 0.5 * (1 - cosine) + 0.25 * (1 - cosinePooled), 4);
});

it('takes mean and deviation by channel, and does not blow up a channel that stands still', () => {
  const { mean, deviation } = channelStatistics(Float32Array.of(1, 7, 10, 3, 7, 30), 3);
  expect([...mean]).toEqual([2, 7, 20]);
  expect(deviation[0]).toBe(1);
  expect(deviation[1]).toBeCloseTo(11 / 300, 6);
  expect(deviation[2]).toBe(10);
  expect(channelStatistics(new Float32Array(6), 3).deviation.every((value) => value > 0)).toBe(true);
});
