import { float32, int64 } from '@querent/core';
import { createGraph } from '@querent/graph';
import { expect, it } from 'vitest';
import { randomAt } from '../data/batches.ts';
import { runGraph, scalarOf } from '../engine.test-helper.ts';
import { itg } from './itg.ts';

async function loss(logits: readonly number[], labels: readonly number[], [batch, tokens, vocab]: readonly [number, number, number], labelSmoothing: number): Promise<number> {
  const g = createGraph('itg');
  g.output('loss', itg(g.input('logits', 'float32', ['batch', 'tokens', vocab]), g.input('labels', 'int64', ['batch', 'tokens']), labelSmoothing));
  return scalarOf(await runGraph(g, { logits: float32([batch, tokens, vocab], logits), labels: int64([batch, tokens], labels) }), 'loss');
}

it('is ln V while all tokens are equally likely', async () => {
  expect(await loss(new Array<number>(2 * 3 * 7).fill(0.5), [1, 2, 0, 3, 5, -100], [2, 3, 7], 0.1)).toBeCloseTo(Math.log(7), 5);
});

it('equals the plain mean over the tokens, padding apart', async () => {
  const shape = [2, 3, 5] as const;
  const labels = [1, 2, 3, 4, 2, -100];
  const random = randomAt(3);
  const logits = Array.from({ length: 30 }, () => random.normal());
  for (const smoothing of [0, 0.1]) {
    let sum = 0;
    let counted = 0;
    for (let row = 0; row < 2; row++) {
      for (let t = 0; t < 3; t++) {
        const label = labels[row * 3 + t]!;
        if (label === -100) continue;
        const scores = logits.slice((row * 3 + t) * 5, (row * 3 + t + 1) * 5);
        const normaliser = Math.log(scores.reduce((total, score) => total + Math.exp(score), 0));
        sum -= (1 - smoothing) * (scores[label]! - normaliser) + (smoothing / 5) * scores.reduce((total, score) => total + score - normaliser, 0);
        counted++;
      }
    }
    expect(counted).toBe(5);
    expect(await loss(logits, labels, shape, smoothing)).toBeCloseTo(sum / counted, 5);
  }
});
