import { expect, it } from 'vitest';
import { randomAt } from './batches.ts';
import { captionPairs, gumbelNoise } from './image-captions.ts';

const words = (text: string): number[] => text.split(' ').map((word) => word.length);

it('pairs each caption with its image and cuts what is too long', () => {
  const pairs = captionPairs(
    [
      { filename: 'a', split: 'train', captions: ['A brown dog runs.', 'Broken image', 'The dog is in the snow now'] },
      { filename: 'b', split: 'train', captions: ['no'] },
      { filename: 'c', split: 'train', captions: ['One two, three!'] },
    ],
    words,
    5,
  );
  expect(pairs.corpus.length).toBe(3);
  expect([0, 1, 2].map((pair) => pairs.imageOf(pair))).toEqual([0, 0, 2]);
  expect([0, 1, 2].map((image) => pairs.pairsOf(image))).toEqual([[0, 1], [], [2]]);
  expect([...pairs.corpus.at(1)]).toEqual([3, 3, 2, 2, 3]);
});

it('draws from the softmax when Gumbel noise is added to scores', () => {
  const scores = [0, 1, 2, -1];
  const total = scores.reduce((sum, score) => sum + Math.exp(score), 0);
  const counts = [0, 0, 0, 0];
  const rows = 20_000;
  const { data, shape } = gumbelNoise(rows, 4, randomAt(5));
  expect(shape).toEqual([rows, 4]);
  for (let row = 0; row < rows; row++) {
    const noisy = scores.map((score, i) => score + data[row * 4 + i]!);
    counts[noisy.indexOf(Math.max(...noisy))]!++;
  }
  scores.forEach((score, i) => expect(counts[i]! / rows).toBeCloseTo(Math.exp(score) / total, 1.7));
});
