import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { beamSearch } from './beam-search.ts';
import { logSoftmax } from './logits.ts';
import type { GenerationOptions } from './options.ts';
import { resolveOptions } from './options.ts';
import { sampling } from './sample.ts';
import { stopTest } from './stop-strings.ts';
import type { GeneratedSequence, Strategy } from './strategy.ts';

const VOCABULARY = 4;
const END = 0;

/** A first-order Markov model: row `t` scores what follows token `t`; row 0 also begins. */
type Model = readonly (readonly number[])[];

function run(model: Model, strategy: Strategy, rows = 1): readonly (readonly GeneratedSequence[])[] {
  const score = (id: number): Float32Array => Float32Array.from(model[id]!);
  let step = strategy.advance(Array.from({ length: rows * strategy.width }, () => score(0)));
  while (!step.isDone) step = strategy.advance(step.ids.map(score));
  return strategy.results();
}

/** Every text up to `most` tokens with its penalised score, best first. */
function exhaustive(model: Model, most: number, lengthPenalty: number): GeneratedSequence[] {
  const logs = model.map((row) => {
    const scores = Float32Array.from(row);
    logSoftmax(scores);
    return scores;
  });
  const texts: GeneratedSequence[] = [];
  const grow = (ids: readonly number[], sum: number): void => {
    const last = ids.at(-1);
    if (last !== undefined && (last === END || ids.length === most)) {
      texts.push({ ids, score: sum / ids.length ** lengthPenalty, finish: last === END ? 'stop' : 'length' });
      return;
    }
    for (let id = 0; id < VOCABULARY; id++) grow([...ids, id], sum + logs[last ?? 0]![id]!);
  };
  grow([], 0);
  return texts.sort((a, b) => b.score - a.score);
}

const models = fc.array(fc.array(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: VOCABULARY, maxLength: VOCABULARY }), { minLength: VOCABULARY, maxLength: VOCABULARY });
const resolve = (options: GenerationOptions): ReturnType<typeof resolveOptions> => resolveOptions(options, { eos: [END] });
const ignore = (): void => undefined;

describe('beam search', () => {
  it('finds the best of all texts when the beam is wide enough to hold them', () => {
    fc.assert(
      fc.property(models, fc.constantFrom(0, 1, 2), (model, lengthPenalty) => {
        const options = resolve({ maxNewTokens: 3, numBeams: 27, lengthPenalty, earlyStopping: 'never' });
        const best = run(model, beamSearch([[]], options, ignore))[0]![0]!;
        expect(best.score).toBeCloseTo(exhaustive(model, 3, lengthPenalty)[0]!.score, 4);
      }),
      { numRuns: 40 },
    );
  });

  it('gives a row the same texts alone and in a batch', () => {
    fc.assert(
      fc.property(models, (model) => {
        const options = resolve({ maxNewTokens: 5, numBeams: 3, numReturnSequences: 3 });
        const alone = run(model, beamSearch([[]], options, ignore))[0];
        const batch = run(model, beamSearch([[], []], options, ignore), 2);
        expect(batch).toEqual([alone, alone]);
      }),
      { numRuns: 40 },
    );
  });

  it('gives distinct texts, best first, each scored by its own tokens', () => {
    fc.assert(
      fc.property(models, fc.constantFrom(-1, 0, 1), fc.constantFrom<boolean | 'never'>(true, false, 'never'), (model, lengthPenalty, earlyStopping) => {
        const options = resolve({ maxNewTokens: 4, numBeams: 4, numReturnSequences: 4, lengthPenalty, earlyStopping });
        const texts = run(model, beamSearch([[]], options, ignore))[0]!;
        const all = new Map(exhaustive(model, 4, lengthPenalty).map((text) => [text.ids.join(), text]));
        expect(new Set(texts.map((text) => text.ids.join())).size).toBe(texts.length);
        texts.forEach((text, i) => {
          expect(text.finish).toBe(all.get(text.ids.join())?.finish);
          expect(text.score).toBeCloseTo(all.get(text.ids.join())!.score, 4);
          if (i > 0) expect(text.score).toBeLessThanOrEqual(texts[i - 1]!.score);
        });
      }),
      { numRuns: 60 },
    );
  });
});

describe('beams that are drawn', () => {
  it('are other texts with another seed, the same with the same, and every one is possible', () => {
    const flat: Model = Array.from({ length: VOCABULARY }, () => [0, 0.1, 0.2, -Infinity]);
    const drawn = (seed: number): readonly GeneratedSequence[] => run(flat, beamSearch([[]], resolve({ maxNewTokens: 6, numBeams: 3, numReturnSequences: 3, doSample: true, seed }), ignore))[0]!;
    expect(drawn(1)).toEqual(drawn(1));
    expect(new Set([1, 2, 3, 4].map((seed) => JSON.stringify(drawn(seed)))).size).toBeGreaterThan(1);
    for (const { ids, score } of drawn(5)) {
      expect(ids).not.toContain(3);
      expect(score).toBeGreaterThan(-10);
    }
  });
});

describe('stop texts', () => {
  const pieces = ['', 'a', 'b', '\n'];
  const isStopped = stopTest({ strings: ['ab'], pieces });

  it('end a beam with the token that completes one, as an end token would', () => {
    // 1 then 2 is by far the likeliest text.
    const model: Model = [[-9, 3, 0, 0], [-9, 0, 3, 0], [-9, 3, 0, 0], [-9, 0, 0, 3]];
    const texts = run(model, beamSearch([[]], resolve({ maxNewTokens: 8, numBeams: 2, numReturnSequences: 2 }), ignore, isStopped))[0]!;
    expect(texts[0]).toMatchObject({ ids: [1, 2], finish: 'stop' });
    expect(run(model, sampling([[]], resolve({ maxNewTokens: 8 }), ignore, END, isStopped))[0]![0]).toMatchObject({ ids: [1, 2], finish: 'stop' });
  });

  it('are found across tokens and inside one, and only where the last token has a part in them', () => {
    const test = stopTest({ strings: ['. A', 'x'], pieces: ['', 'dog.', ' A', ' B', '. And', 'axe'] });
    expect([[1, 2], [1, 3], [4], [5], [4, 3], [0], [], [2], [1, 0, 2]].map((ids) => test(ids))).toEqual([true, false, true, true, false, false, false, false, true]);
  });
});

describe('sampling', () => {
  it('repeats with the seed, and a row does not depend on the rows after it', () => {
    fc.assert(
      fc.property(models, fc.integer(), (model, seed) => {
        const options = resolve({ maxNewTokens: 6, doSample: true, seed, minNewTokens: 1 });
        const once = run(model, sampling([[]], options, ignore, END));
        expect(run(model, sampling([[], []], options, ignore, END), 2)[0]).toEqual(once[0]);
      }),
      { numRuns: 40 },
    );
  });

  it('draws tokens as often as they are probable', () => {
    const options = resolve({ maxNewTokens: 1, doSample: true, numReturnSequences: 4000, seed: 3 });
    const row = [0, Math.log(2), Math.log(5), -Infinity];
    const texts = run([row, row, row, row], sampling([[]], options, ignore, END))[0]!;
    const share = (id: number): number => texts.filter((text) => text.ids[0] === id).length / texts.length;
    expect(share(0)).toBeCloseTo(1 / 8, 1);
    expect(share(1)).toBeCloseTo(2 / 8, 1);
    expect(share(2)).toBeCloseTo(5 / 8, 1);
    expect(share(3)).toBe(0);
  });

  it('takes the best token each time when greedy, and fills rows that have ended', () => {
    const model = [[0, 3, 0, 0], [0, 0, 5, 0], [9, 0, 0, 0], [0, 0, 0, 0]];
    const strategy = sampling([[7]], resolve({ maxNewTokens: 9 }), ignore, 3);
    const texts = run(model, strategy);
    expect(texts[0]![0]).toMatchObject({ ids: [1, 2, 0], finish: 'stop' });
  });
});
