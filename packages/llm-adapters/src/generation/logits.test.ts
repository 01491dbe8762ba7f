import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  argMax,
  divideByTemperature,
  forbidRepeatedNgrams,
  forbidSequences,
  keepMinP,
  keepTopK,
  keepTopP,
  keepTypical,
  logSoftmax,
  penaliseRepetition,
  scoreProcessor,
  softmax,
} from './logits.ts';
import type { GenerationOptions } from './options.ts';
import { resolveOptions } from './options.ts';

/** float32 tensors of a small safetensors file; this package does not depend on the one that reads them. */
function floats(file: string): (name: string) => { readonly rows: readonly Float32Array[] } {
  const bytes = readFileSync(fileURLToPath(new URL(`../../../../test/goldens/v1/${file}`, import.meta.url)));
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<string, { shape: [number, number]; data_offsets: [number, number] }>;
  return (name) => {
    const { shape, data_offsets: [start, end] } = header[name]!;
    const data = new Float32Array(bytes.buffer.slice(bytes.byteOffset + 8 + length + start, bytes.byteOffset + 8 + length + end));
    return { rows: Array.from({ length: shape[0] }, (_, i) => data.slice(i * shape[1], (i + 1) * shape[1])) };
  };
}

describe('warpers', () => {
  const given = floats('blip2-opt/inputs.safetensors')('warp_logits');
  const expected = floats('blip2-opt/expected.safetensors');
  const chains: Record<string, (scores: Float32Array) => void> = {
    'top_k_5': (scores) => keepTopK(scores, 5),
    'top_p_0.9': (scores) => keepTopP(scores, 0.9),
    'top_p_0.5': (scores) => keepTopP(scores, 0.5),
    'temp_0.7_top_k_20_top_p_0.8': (scores) => {
      divideByTemperature(scores, 0.7);
      keepTopK(scores, 20);
      keepTopP(scores, 0.8);
    },
    'temp_2_top_p_0.95': (scores) => {
      divideByTemperature(scores, 2);
      keepTopP(scores, 0.95);
    },
    'typical_0.8': (scores) => keepTypical(scores, 0.8),
    'min_p_0.1': (scores) => keepMinP(scores, 0.1),
  };
  it.each(Object.keys(chains))('%s gives the probabilities of transformers', (name) => {
    given.rows.forEach((row, i) => {
      const scores = row.slice();
      chains[name]!(scores);
      const wanted = expected(`warp_probs/${name}`).rows[i]!;
      softmax(scores).forEach((p, id) => expect(p).toBeCloseTo(wanted[id]!, 5));
    });
  });
});

const scoreRow = fc.array(fc.float({ min: -30, max: 30, noNaN: true }), { minLength: 1, maxLength: 60 }).map((values) => Float32Array.from(values));

describe('score rows', () => {
  it('log-softmax sums to one', () => {
    fc.assert(
      fc.property(scoreRow, (row) => {
        logSoftmax(row);
        expect(row.reduce((sum, x) => sum + Math.exp(x), 0)).toBeCloseTo(1, 4);
      }),
    );
  });

  it('every warper leaves the best token possible', () => {
    fc.assert(
      fc.property(scoreRow, fc.double({ min: 0.01, max: 1, noNaN: true }), fc.integer({ min: 1, max: 70 }), (row, share, k) => {
        const best = Math.max(...row);
        for (const warp of [(x: Float32Array) => keepTopK(x, k), (x: Float32Array) => keepTopP(x, share), (x: Float32Array) => keepMinP(x, share)]) {
          const scores = row.slice();
          warp(scores);
          expect(scores[argMax(scores)]).toBe(Math.fround(best));
        }
        const typical = row.slice();
        keepTypical(typical, share);
        expect(typical.some((x) => x > -Infinity)).toBe(true);
      }),
    );
  });

  it('repetition makes a score smaller, whatever its sign, and once however often the token stands there', () => {
    const row = Float32Array.of(2, -2, 1);
    penaliseRepetition(row, [0, 1, 1, 99], 2);
    expect([...row]).toEqual([1, -4, 1]);
  });

  it('an n-gram is not completed a second time', () => {
    const row = new Float32Array(6);
    forbidRepeatedNgrams(row, [1, 2, 3, 1, 2], 3);
    expect([...row]).toEqual([0, 0, 0, -Infinity, 0, 0]);
    const single = new Float32Array(4);
    forbidRepeatedNgrams(single, [1, 3], 1);
    expect([...single]).toEqual([0, -Infinity, 0, -Infinity]);
  });

  it('a bad word is forbidden only where it would be completed', () => {
    const row = new Float32Array(5);
    forbidSequences(row, [4, 1], [[1, 2], [3], [0, 4], []]);
    expect([...row]).toEqual([0, 0, -Infinity, -Infinity, 0]);
  });

  it('the end token waits for minNewTokens and is forced at maxNewTokens', () => {
    const process = scoreProcessor(resolveOptions({ minNewTokens: 2, maxNewTokens: 4, forcedEosTokenId: 1 }, { eos: [1] }));
    const at = (generated: number): number => {
      const row = Float32Array.of(0, 9, 1);
      process(row, [], generated);
      return argMax(row);
    };
    expect([0, 1, 2, 3].map(at)).toEqual([2, 2, 1, 1]);
    const late = Float32Array.of(9, 0, 0);
    process(late, [], 3);
    expect(argMax(late)).toBe(1);
  });

  it('tokens are forced and suppressed at their places, which count what has been read', () => {
    const best = (options: GenerationOptions, promptLength: number, generated: number): number => {
      const row = Float32Array.of(0, 5, 4, 3);
      scoreProcessor(resolveOptions(options, { eos: [] }, promptLength))(row, [], generated);
      return argMax(row);
    };
    const forcedDecoderIds = [[1, 3], [6, 0]] as const;
    expect([0, 1, 5].map((generated) => best({ forcedDecoderIds }, 1, generated))).toEqual([3, 1, 0]); // behind a start token
    expect([0, 1].map((generated) => best({ forcedDecoderIds }, 5, generated))).toEqual([1, 0]); // behind a prompt of five
    expect([0, 1].map((generated) => best({ beginSuppressTokens: [1] }, 5, generated))).toEqual([2, 1]);
    expect([0, 1, 2].map((generated) => best({ beginSuppressTokens: [1], forcedBosTokenId: 3 }, 1, generated))).toEqual([3, 2, 1]);
    expect(best({ suppressTokens: [1, 2, 99] }, 0, 4)).toBe(3);
    expect([0, 1].map((generated) => best({ forcedBosTokenId: 2 }, 1, generated))).toEqual([2, 1]);
  });

  it('an end token is never a bad word, or nothing would end', () => {
    const row = Float32Array.of(1, 2);
    scoreProcessor(resolveOptions({ badWordsIds: [[0], [1]] }, { eos: [1] }))(row, [], 0);
    expect([...row]).toEqual([-Infinity, 2]);
  });

  it('warpers leave beams something to go on with beside the end tokens', () => {
    fc.assert(
      fc.property(scoreRow, fc.constantFrom<GenerationOptions>({ topK: 1 }, { topP: 0.001 }, { minP: 1 }, { typicalP: 0.001 }), (row, warper) => {
        const scores = row.slice();
        scoreProcessor(resolveOptions({ ...warper, doSample: true, numBeams: 2 }, { eos: [0, 1] }))(scores, [], 0);
        expect(scores.filter((score) => score > -Infinity).length).toBeGreaterThanOrEqual(Math.min(3, row.length));
      }),
    );
  });
});
