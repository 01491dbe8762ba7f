import type { TensorData } from '@querent/core';
import { float32, int64 } from '@querent/core';
import { createGraph } from '@querent/graph';
import { expect, it } from 'vitest';
import { randomAt } from '../data/batches.ts';
import { gumbelNoise } from '../data/image-captions.ts';
import { runGraph, scalarOf } from '../engine.test-helper.ts';
import { drawHardNegatives, itm } from './itm.ts';

/** Draws for `copies` batches at once would need a batch axis; rows of one image each do: every row is a draw of its own. */
async function draw(similarity: readonly (readonly number[])[], imageIds: readonly number[], seed: number): Promise<{ image: number[]; text: number[] }> {
  const n = imageIds.length;
  const g = createGraph('negatives');
  const drawn = drawHardNegatives(g.input('similarity', 'float32', ['batch', 'batch']), g.input('image_ids', 'int64', ['batch']), {
    images: g.input('image_noise', 'float32', ['batch', 'batch']),
    texts: g.input('text_noise', 'float32', ['batch', 'batch']),
  });
  g.output('image', drawn.image);
  g.output('text', drawn.text);
  const random = randomAt(seed);
  const outputs = await runGraph(g, {
    similarity: float32([n, n], similarity.flat()),
    image_ids: int64([n], [...imageIds]),
    image_noise: gumbelNoise(n, n, random),
    text_noise: gumbelNoise(n, n, random),
  });
  const numbers = (tensor: TensorData): number[] => Array.from(tensor.data, Number);
  return { image: numbers(outputs['image']!), text: numbers(outputs['text']!) };
}

it('never draws a row of the same image, however alike it is', async () => {
  const imageIds = [0, 0, 1, 2, 2, 2, 3, 0];
  const similarity = imageIds.map((a) => imageIds.map((b) => (a === b ? 1 / 0.01 : 0)));
  for (let seed = 0; seed < 5; seed++) {
    const { image, text } = await draw(similarity, imageIds, seed);
    for (const drawn of [image, text]) drawn.forEach((row, i) => expect(imageIds[row]).not.toBe(imageIds[i]));
  }
});

it('draws with the probabilities of the softmax over the wrong rows', async () => {
  // 300 rows with the same scores: each row is one draw over the same few attractive columns.
  const n = 300;
  const score = (column: number): number => [4, 5, 3][column] ?? -20;
  const similarity = Array.from({ length: n }, () => Array.from({ length: n }, (_, column) => score(column)));
  const imageIds = Array.from({ length: n }, (_, i) => i);
  const counts = [0, 0, 0];
  for (const seed of [1, 2, 3, 4]) {
    const { text } = await draw(similarity, imageIds, seed);
    text.slice(3).forEach((column) => counts[column]!++);
  }
  const total = counts.reduce((a, b) => a + b, 0);
  const weights = [4, 5, 3].map(Math.exp);
  const sum = weights.reduce((a, b) => a + b, 0);
  expect(total).toBe(4 * (n - 3));
  weights.forEach((weight, i) => expect(counts[i]! / total).toBeCloseTo(weight / sum, 1.2));
});

it('costs 0.6365 while a third of the pairs are true and the head says so of all', async () => {
  const g = createGraph('itm');
  g.output('loss', itm(g.input('logits', 'float32', ['rows', 2]), g.input('labels', 'int64', ['rows'])));
  const logits = Array.from({ length: 6 }, () => [Math.log(2 / 3), Math.log(1 / 3)]).flat();
  const outputs = await runGraph(g, { logits: float32([6, 2], logits), labels: int64([6], [1, 1, 0, 0, 0, 0]) });
  expect(scalarOf(outputs, 'loss')).toBeCloseTo(0.6365, 4);
});
