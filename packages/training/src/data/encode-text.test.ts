import type { Tokenizer } from '@querent/hub';
import { createTokenizer, trainByteLevelBpe, padRows } from '@querent/hub';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createTextEncoder, tokenCorpus } from './encode-text.ts';
import { normaliseCaption } from './text.ts';

const TEXTS = ['a brown dog runs in the snow', 'two dogs run', 'the brown cat sits', 'a dog and a cat'];

function tokenizer(): Tokenizer {
  const json = trainByteLevelBpe(TEXTS, { vocabSize: 290, specialTokens: ['<pad>', '<s>', '</s>'], lowercase: true, keep: 'letters-digits-apostrophe', template: '<s> $A' });
  return createTokenizer(json, undefined, 'tokenizer.json');
}

it('encodes word by word what the tokenizer encodes at once', () => {
  const own = tokenizer();
  const encode = createTextEncoder(own, TEXTS);
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...'abcdeghinorstuw012\'', ' ', ' '), { minLength: 1, maxLength: 40 }), (characters) => {
      const text = normaliseCaption(characters.join(''));
      fc.pre(text !== '');
      expect(encode(text)).toEqual(own.encode(text, { addSpecialTokens: false }));
    }),
  );
});

it('asks the tokenizer for whole captions when it looks across blanks', () => {
  const joined: Tokenizer = { ...tokenizer(), encode: (text) => [text.length] };
  expect(createTextEncoder(joined, TEXTS)('two dogs run')).toEqual([12]);
});

it('keeps many sequences in one array', () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.integer({ min: 0, max: 2 ** 31 - 1 }), { maxLength: 9 })), (sequences) => {
      const corpus = tokenCorpus(sequences);
      expect(corpus.length).toBe(sequences.length);
      sequences.forEach((sequence, i) => {
        expect([...corpus.at(i)]).toEqual(sequence);
        expect(corpus.lengthOf(i)).toBe(sequence.length);
      });
    }),
  );
});

it('grows beyond its first size', () => {
  const long = Array.from({ length: 50_000 }, (_, i) => i);
  const corpus = tokenCorpus([long, [7], long]);
  expect([corpus.at(1)[0], corpus.at(2)[49_999], corpus.lengthOf(0)]).toEqual([7, 49_999, 50_000]);
});

it('pads rows on either side and marks what is real', () => {
  const right = padRows([[5, 6, 7], [8]], -100, 'right');
  expect(right).toEqual({ width: 3, ids: BigInt64Array.of(5n, 6n, 7n, 8n, -100n, -100n), mask: BigInt64Array.of(1n, 1n, 1n, 1n, 0n, 0n) });
  const left = padRows([[5, 6, 7], [8]], 0, 'left');
  expect(left).toEqual({ width: 3, ids: BigInt64Array.of(5n, 6n, 7n, 0n, 0n, 8n), mask: BigInt64Array.of(1n, 1n, 1n, 0n, 0n, 1n) });
  expect(padRows([], 0, 'left').width).toBe(0);
});
