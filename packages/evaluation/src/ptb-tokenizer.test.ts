import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ptbTokenize, ptbTokenizeAll } from './ptb-tokenizer.ts';

// [raw, tokenised by the jar] of COCO captions and of hard strings; see fixtures/generate.py.
const { lines } = JSON.parse(gunzipSync(readFileSync(new URL('../fixtures/ptb.json.gz', import.meta.url))).toString()) as {
  lines: [raw: string, tokenised: string][]; // the file is ours
};

describe('ptbTokenizeAll', () => {
  it('gives what the jar gives for 3,000 COCO captions, the odd ones among them, and for hard strings', () => {
    const ours = ptbTokenizeAll(lines.map(([raw]) => raw));
    const different = lines.flatMap(([raw, tokenised], line) => {
      const got = (ours[line] ?? []).join(' ');
      return got === tokenised ? [] : [{ raw, tokenised, got }];
    });
    expect(lines.length).toBeGreaterThan(2500);
    expect(different).toEqual([]);
  });

  it('keeps captions apart, line breaks within them too', () => {
    expect(ptbTokenizeAll(['A dog\nruns.', '', 'Two cats'])).toEqual([['a', 'dog', 'runs'], [], ['two', 'cats']]);
  });

  it('looks at the next caption only where a single letter ends one', () => {
    expect(ptbTokenizeAll(['The letter P.', 'A dog'])[0]).toEqual(['the', 'letter', 'p']);
    expect(ptbTokenizeAll(['The letter P.', 'a dog'])[0]).toEqual(['the', 'letter', 'p.']);
  });

  it('ends on any text, with tokens that have no blank at their ends and no upper case', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme', maxLength: 40 })), (captions) => {
        const tokens = ptbTokenizeAll(captions);
        expect(tokens).toHaveLength(captions.length);
        for (const token of tokens.flat()) expect(token).toBe(token.trim().toLowerCase());
      }),
    );
  });

  it('is not slowed down by long runs of one character', () => {
    for (const unit of ["'", 'a', 'a.', '-', 'a-', '1,', '<a ', '&', 'a@', ':', 'http://', "n't", '\u00a0', 'a!', '<a =']) {
      expect(ptbTokenize(unit.repeat(3000)).length).toBeGreaterThanOrEqual(0);
    }
  });
});

describe('ptbTokenize', () => {
  it('splits contractions and genitives, and drops punctuation', () => {
    expect(ptbTokenize("He can't see the dog's T-shirt, but it's there.").join(' ')).toBe("he ca n't see the dog 's t-shirt but it 's there");
  });
});
