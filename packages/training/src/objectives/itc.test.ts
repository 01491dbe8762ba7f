import { float32, int64 } from '@querent/core';
import { createGraph } from '@querent/graph';
import { expect, it } from 'vitest';
import { randomAt } from '../data/batches.ts';
import { runGraph, scalarOf } from '../engine.test-helper.ts';
import { itc } from './itc.ts';

async function losses(cosine: readonly (readonly number[])[], imageIds: readonly number[], temperature: number, labelSmoothing: number): Promise<{ i2t: number; t2i: number; loss: number }> {
  const g = createGraph('itc');
  const result = itc({
    cosine: g.input('cosine', 'float32', ['batch', 'batch']),
    temperature: g.input('temperature', 'float32', []),
    imageIds: g.input('image_ids', 'int64', ['batch']),
    labelSmoothing,
  });
  g.output('loss', result.loss);
  g.output('i2t', result.lossI2t);
  g.output('t2i', result.lossT2i);
  const n = imageIds.length;
  const outputs = await runGraph(g, { cosine: float32([n, n], cosine.flat()), temperature: float32([], [temperature]), image_ids: int64([n], [...imageIds]) });
  return { i2t: scalarOf(outputs, 'i2t'), t2i: scalarOf(outputs, 't2i'), loss: scalarOf(outputs, 'loss') };
}

/** The same in plain JavaScript: mean over rows of -Σ target log softmax. */
function plain(scores: readonly (readonly number[])[], imageIds: readonly number[], labelSmoothing: number): number {
  const n = imageIds.length;
  const perRow = scores.map((row, i) => {
    const normaliser = Math.log(row.reduce((sum, score) => sum + Math.exp(score), 0));
    const right = imageIds.filter((id) => id === imageIds[i]).length;
    return -row.reduce((sum, score, j) => sum + ((imageIds[j] === imageIds[i] ? (1 - labelSmoothing) / right : 0) + labelSmoothing / n) * (score - normaliser), 0);
  });
  return perRow.reduce((a, b) => a + b, 0) / n;
}

function randomCosine(n: number, seed: number): number[][] {
  const random = randomAt(seed);
  return Array.from({ length: n }, () => Array.from({ length: n }, () => random.next() * 2 - 1));
}

for (const [what, imageIds, smoothing] of [
  ['one caption an image', [3, 1, 4, 15], 0],
  ['label smoothing', [3, 1, 4, 15], 0.1],
  ['several captions of an image', [7, 2, 7, 7, 2, 9], 0.1],
] as const) {
  it(`equals the plain computation with ${what}`, async () => {
    const cosine = randomCosine(imageIds.length, 1);
    const scores = cosine.map((row) => row.map((value) => value / 0.07));
    const columns = scores.map((_, j) => scores.map((row) => row[j]!));
    const { i2t, t2i, loss } = await losses(cosine, imageIds, 0.07, smoothing);
    expect(i2t).toBeCloseTo(plain(scores, imageIds, smoothing), 4);
    expect(t2i).toBeCloseTo(plain(columns, imageIds, smoothing), 4);
    expect(loss).toBeCloseTo((i2t + t2i) / 2, 5);
  });
}

it('is ln N while all similarities are equal', async () => {
  const equal = Array.from({ length: 5 }, () => [0.3, 0.3, 0.3, 0.3, 0.3]);
  expect((await losses(equal, [0, 1, 2, 3, 4], 0.07, 0.1)).loss).toBeCloseTo(Math.log(5), 5);
});
