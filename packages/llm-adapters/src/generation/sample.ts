/** Greedy decoding and seeded sampling: each running row goes its own way. */
import { argMax, logSoftmax, logSumExp } from './logits.ts';
import type { ResolvedOptions } from './options.ts';
import type { GeneratedSequence, RowProcessor, StopTest, Strategy, StrategyStep, TokenDelta } from './strategy.ts';

/** A generator of numbers in [0, 1): sfc32, seeded through splitmix32. The same seed gives the same numbers everywhere. */
export function seededRandom(seed: number): () => number {
  let mix = (seed ^ Math.floor(seed / 2 ** 32)) | 0;
  const next = (): number => {
    mix = (mix + 0x9e3779b9) | 0;
    let z = mix ^ (mix >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z ^= z >>> 15;
    z = Math.imul(z, 0x735a2d97);
    return z ^ (z >>> 15);
  };
  let [a, b, c, counter] = [next(), next(), next(), 1];
  return () => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum | 0;
    return (sum >>> 0) / 2 ** 32;
  };
}

/** Index drawn from normalised log-probabilities. */
export function draw(logProbabilities: Float32Array, random: () => number): number {
  let left = random();
  let last = 0;
  for (let id = 0; id < logProbabilities.length; id++) {
    const p = Math.exp(logProbabilities[id]!);
    if (p === 0) continue;
    last = id; // rounding can leave a remainder: it falls to the last possible token
    left -= p;
    if (left < 0) break;
  }
  return last;
}

/** A token drawn from scores, and its log-probability. Changes the scores. */
function drawn(scores: Float32Array, random: () => number): readonly [id: number, logProb: number] {
  logSoftmax(scores);
  const id = draw(scores, random);
  return [id, scores[id]!];
}

/** The token of the largest score, and its log-probability. */
function likeliest(scores: Float32Array): readonly [id: number, logProb: number] {
  const id = argMax(scores);
  return [id, Math.fround(scores[id]! - logSumExp(scores, scores[id]!))];
}

interface Running {
  readonly sequence: number[];
  readonly ids: number[];
  sum: number;
  finish: 'stop' | 'length' | undefined;
}

/** @param histories what the processors see before the first new token, per row of the batch */
export function sampling(histories: readonly (readonly number[])[], options: ResolvedOptions, process: RowProcessor, filler: number, isStopped: StopTest = () => false): Strategy {
  const width = options.numReturnSequences;
  const running: Running[] = histories.flatMap((history) => Array.from({ length: width }, () => ({ sequence: [...history], ids: [], sum: 0, finish: undefined })));
  // One stream a row: a row's text does not depend on what else is in its batch.
  const streams = running.map((_, i) => seededRandom(options.seed + i * 0x10001));
  const ends = new Set(options.eosTokenIds);

  const choose = (row: Running, index: number, scores: Float32Array): TokenDelta => {
    process(scores, row.sequence, row.ids.length, index);
    const [id, logProb] = options.doSample ? drawn(scores, streams[index]!) : likeliest(scores);
    row.ids.push(id);
    row.sequence.push(id);
    row.sum += logProb;
    if (ends.has(id) || isStopped(row.ids)) row.finish = 'stop';
    else if (row.ids.length >= options.maxNewTokens) row.finish = 'length';
    return { row: Math.floor(index / width), sequence: index % width, id, logProb };
  };

  return {
    width,
    advance(scores): StrategyStep {
      const deltas: TokenDelta[] = [];
      const ids = running.map((row, index) => {
        if (row.finish !== undefined) return filler;
        const delta = choose(row, index, scores[index]!);
        deltas.push(delta);
        return delta.id;
      });
      return { ids, parents: undefined, deltas, isDone: running.every((row) => row.finish !== undefined) };
    },
    results: () =>
      histories.map((_, batch) =>
        running
          .slice(batch * width, (batch + 1) * width)
          .map((row): GeneratedSequence => ({ ids: row.ids, score: row.sum / row.ids.length ** options.lengthPenalty, finish: row.finish ?? 'length' }))
          .sort((a, b) => b.score - a.score),
      ),
  };
}
