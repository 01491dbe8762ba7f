import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createTokenizer } from './tokenizer.ts';
import { normalizeText, trainByteLevelBpe, type TrainBpeOptions } from './tokenizer-train.ts';

const CAPTIONS = [
  'A brown dog is running through the snow.',
  'Two dogs run in the snow .',
  "A child's red kite flies over the beach",
  'A man in a red shirt runs along the beach',
  'Twenty-two people stand by the sea; the dogs are running.',
  'Ein Mädchen läuft über die Straße – 3 Hunde folgen',
];
const specialTokens = ['<pad>', '[CLS]', '[SEP]', '[DEC]'];

test('the most frequent pair is merged first, ties go to the smaller ids', () => {
  const json = trainByteLevelBpe(['abab abab', 'cdcd'], { vocabSize: 256 + 3, specialTokens: [], addPrefixSpace: false });
  // ab 4 times; cd and dc … then abab 2 (with and without space) before cd 2: "a" < "c", and "ab" was made later.
  expect(json.model.merges).toEqual(['a b', 'c d', 'ab ab']);
});

test('training is deterministic and does not depend on the order of texts', () => {
  const options: TrainBpeOptions = { vocabSize: 320, specialTokens };
  expect(trainByteLevelBpe(CAPTIONS.toReversed(), options)).toEqual(trainByteLevelBpe(CAPTIONS, options));
});

test('ids: special tokens, 256 bytes, merges, nothing else', () => {
  const json = trainByteLevelBpe(CAPTIONS, { vocabSize: 280, specialTokens });
  const ids = Object.values(json.model.vocab).sort((a, b) => a - b);
  expect(ids).toHaveLength(280);
  expect(ids).toEqual(ids.map((_, i) => i));
  expect(json.model.vocab['[DEC]']).toBe(3);
  expect(json.model.merges).toHaveLength(280 - 256 - 4);
});

test('merges stop where nothing is frequent enough', () => {
  const json = trainByteLevelBpe(['ab'], { vocabSize: 1000, specialTokens: [] });
  expect(json.model.merges).toEqual([]);
  expect(trainByteLevelBpe(['ab'], { vocabSize: 1000, specialTokens: [], minFrequency: 1 }).model.merges).toEqual(['a b', 'Ġ ab']);
});

// A slow trainer that counts everything anew for every merge.
function naiveMerges(words: readonly string[], merges: number): string[] {
  const alphabet = [...new Set(words.join(''))].sort();
  let split = words.map((word) => [...word]);
  const order = new Map(alphabet.map((token, i) => [token, i]));
  const out: string[] = [];
  for (let n = 0; n < merges; n++) {
    const counts = new Map<string, number>();
    for (const word of split) for (let i = 1; i < word.length; i++) counts.set(`${word[i - 1]} ${word[i]}`, (counts.get(`${word[i - 1]} ${word[i]}`) ?? 0) + 1);
    const rank = (pair: string): [number, number] => {
      const [left = '', right = ''] = pair.split(' ');
      return [order.get(left) ?? 0, order.get(right) ?? 0];
    };
    const [best] = [...counts].sort(([a, countA], [b, countB]) => countB - countA || rank(a)[0] - rank(b)[0] || rank(a)[1] - rank(b)[1]);
    if (best === undefined || best[1] < 2) break;
    const [left = '', right = ''] = best[0].split(' ');
    if (!order.has(left + right)) order.set(left + right, order.size);
    else merges++; // the same token made in another way: it takes no id
    out.push(best[0]);
    split = split.map((word) => {
      const merged: string[] = [];
      for (let i = 0; i < word.length; i++) {
        if (word[i] === left && word[i + 1] === right) merged.push(left + String(word[++i]));
        else merged.push(word[i] ?? '');
      }
      return merged;
    });
  }
  return out;
}

test('the incremental counts give what counting anew gives', () => {
  const word = fc.stringMatching(/^[abc]{1,9}$/);
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 12 }), (words) => {
      const json = trainByteLevelBpe(words, { vocabSize: 256 + 8, specialTokens: [], addPrefixSpace: false });
      expect(json.model.merges).toEqual(naiveMerges(words, 8));
    }),
    { numRuns: 300 },
  );
});

describe.each<[string, Partial<TrainBpeOptions>]>([
  ['plain', {}],
  ['without prefix space', { addPrefixSpace: false }],
  ['lower case', { lowercase: true }],
  ['letters, digits, apostrophe', { lowercase: true, keep: 'letters-digits-apostrophe' }],
])('%s', (_, partial) => {
  const options: TrainBpeOptions = { vocabSize: 400, specialTokens, ...partial };
  const tokenizer = createTokenizer(trainByteLevelBpe(CAPTIONS, options));

  test('decoding what was encoded gives the normalised text', () => {
    const text = fc.oneof(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' }), fc.constantFrom(...CAPTIONS));
    fc.assert(
      fc.property(text, (x) => {
        fc.pre(!specialTokens.some((token) => x.includes(token)));
        expect(tokenizer.decode(tokenizer.encode(x))).toBe(normalizeText(x, options));
      }),
      { numRuns: 1000 },
    );
  });
});

test('keeping letters, digits and apostrophes drops the rest', () => {
  const options = { lowercase: true, keep: 'letters-digits-apostrophe' } as const;
  expect(normalizeText("  The child’s “T-shirt”, no. 3!\n", options)).toBe("the child's t shirt no 3");
});

test('a template frames the text and survives decoding', () => {
  const json = trainByteLevelBpe(CAPTIONS, { vocabSize: 300, specialTokens, template: '[CLS] $A [SEP]' });
  const tokenizer = createTokenizer(json);
  const ids = tokenizer.encode('A dog');
  expect([ids[0], ids.at(-1)]).toEqual([1, 2]);
  expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe('A dog');
});

test('bad options are refused with a code', () => {
  const usage = expect.objectContaining({ code: 'QRT_USAGE' });
  expect(() => trainByteLevelBpe([], { vocabSize: 100, specialTokens: [] })).toThrow(usage);
  expect(() => trainByteLevelBpe([], { vocabSize: 300, specialTokens: ['a', 'a'] })).toThrow(usage);
  expect(() => trainByteLevelBpe([], { vocabSize: 300, specialTokens: [], template: '[CLS] $A' })).toThrow(usage);
  expect(() => trainByteLevelBpe([], { vocabSize: 300, specialTokens: [], template: 'x' })).toThrow(usage);
});
