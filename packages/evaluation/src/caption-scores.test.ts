import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { isQuerentError } from '@querent/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bleu } from './bleu.ts';
import { cider, createCiderScorer } from './cider.ts';
import { evaluateCaptions, scoreCaptions } from './evaluate-captions.ts';
import { bleuMetric, ciderMetric, rougeMetric } from './metrics.ts';
import { rougeL } from './rouge.ts';

// 1,000 hypotheses of tylin/coco-caption with pycocoevalcap's scores; see fixtures/generate.py.
interface Golden {
  readonly corpus: Readonly<Record<string, number>>;
  readonly images: readonly [hypothesis: string, references: string[], scores: number[]][];
}
const golden = JSON.parse(gunzipSync(readFileSync(new URL('../fixtures/coco-caption.json.gz', import.meta.url))).toString()) as Golden; // ours
const hypotheses = golden.images.map(([hypothesis]) => hypothesis.split(' '));
const references = golden.images.map(([, captions]) => captions.map((caption) => caption.split(' ')));
/** Largest difference from the column of the fixture. */
function worst(ours: readonly number[], column: number): number {
  return Math.max(...golden.images.map(([, , scores], image) => Math.abs((ours[image] ?? Number.NaN) - (scores[column] ?? Number.NaN))));
}

describe('the scores of 1,000 COCO captions equal those of pycocoevalcap', () => {
  it('BLEU-1 to BLEU-4, of the corpus and of each image', () => {
    const { corpus, perImage } = bleu(hypotheses, references);
    for (let order = 0; order < 4; order += 1) {
      expect(corpus[order]).toBeCloseTo(golden.corpus[`Bleu_${order + 1}`] ?? Number.NaN, 10);
      expect(worst(perImage.map((scores) => scores[order] ?? Number.NaN), order)).toBeLessThan(1e-10);
    }
  });

  it('ROUGE-L, of the corpus and of each image', () => {
    const { corpus, perImage } = rougeL(hypotheses, references);
    expect(corpus).toBeCloseTo(golden.corpus['ROUGE_L'] ?? Number.NaN, 10);
    expect(worst(perImage, 4)).toBeLessThan(1e-10);
  });

  it('CIDEr, of the corpus and of each image', () => {
    const { corpus, perImage } = cider(hypotheses, references);
    expect(corpus).toBeCloseTo(golden.corpus['CIDEr'] ?? Number.NaN, 10);
    expect(worst(perImage, 5)).toBeLessThan(1e-10);
  });

  it('all of them from plain texts, up to the one reference that a second tokenisation changes', () => {
    const { figures, each } = scoreCaptions(golden.images.map(([hypothesis]) => hypothesis), golden.images.map(([, captions]) => captions));
    for (const [name, value] of Object.entries(golden.corpus)) expect(figures[name as keyof typeof figures]).toBeCloseTo(value, 3); // same names
    expect(figures.images).toBe(1000);
    expect(each.CIDEr).toHaveLength(1000);
  });
});

describe('properties', () => {
  const caption = fc.array(fc.constantFrom('a', 'dog', 'cat', 'runs', 'sits', 'red'), { minLength: 4, maxLength: 9 });

  it('a hypothesis equal to its only reference has BLEU and ROUGE-L 1', () => {
    fc.assert(
      fc.property(caption, (tokens) => {
        for (const score of bleu([tokens], [[tokens]]).corpus) expect(score).toBeCloseTo(1, 6);
        expect(rougeL([tokens], [[tokens]]).corpus).toBeCloseTo(1, 12);
      }),
    );
  });

  it('the scorer gives what the whole evaluation gives', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(caption, fc.array(caption, { minLength: 1, maxLength: 3 })), { minLength: 1, maxLength: 6 }), (rows) => {
        const said = rows.map(([hypothesis]) => hypothesis);
        const wanted = rows.map(([, captions]) => captions);
        const scorer = createCiderScorer(wanted);
        expect(said.map((tokens, image) => scorer.score(image, tokens))).toEqual(cider(said, wanted).perImage);
      }),
    );
  });

  it('an empty hypothesis scores 0, not NaN', () => {
    const { figures } = scoreCaptions(['', 'a dog runs'], [['a cat'], ['a dog runs']]);
    expect(Object.values(figures).every(Number.isFinite)).toBe(true);
    expect(createCiderScorer([[['a']], [['b']]]).score(0, [])).toBe(0);
  });
});

describe('what is refused', () => {
  const code = (run: () => unknown): string => {
    try {
      run();
    } catch (error) {
      if (isQuerentError(error)) return error.code;
    }
    return 'nothing';
  };

  it('lists that do not fit, and images without references', () => {
    expect(code(() => bleu([['a']], []))).toBe('QRT_USAGE');
    expect(code(() => rougeL([], []))).toBe('QRT_USAGE');
    expect(code(() => cider([['a']], [[]]))).toBe('QRT_USAGE');
    expect(code(() => createCiderScorer([[['a']]]).score(1, ['a']))).toBe('QRT_USAGE');
  });

  it('images without a prediction, by name', () => {
    const images = [{ filename: 'a.jpg', split: 'val', sentences: [{ raw: 'A dog.', tokens: [] }] }];
    expect(() => evaluateCaptions(new Map(), images)).toThrow(/1 of 1 images .* a\.jpg/);
    expect(evaluateCaptions(new Map([['a.jpg', 'a dog']]), images).Bleu_1).toBeCloseTo(1, 6);
  });
});

describe('the metric plugins', () => {
  it('give the figures of scoreCaptions', async () => {
    const judged = golden.images.slice(0, 40).map(([prediction, reference], image) => ({ id: String(image), prediction, reference }));
    const { figures } = scoreCaptions(judged.map(({ prediction }) => prediction), judged.map(({ reference }) => reference));
    for (const metric of [bleuMetric, rougeMetric, ciderMetric]) {
      const result = await metric.evaluate(judged, undefined);
      for (const [name, value] of Object.entries(result.figures)) {
        expect(value).toBeCloseTo(figures[name as keyof typeof figures], 12); // same names
        expect(result.each?.[name]).toHaveLength(40);
      }
    }
  });
});
