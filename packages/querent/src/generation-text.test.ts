import { createTokenizer, trainByteLevelBpe } from '@querent/hub';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RowText, tokenPieces } from './generation-text.ts';

const tokenizer = createTokenizer(trainByteLevelBpe(['a brown dog', 'two dogs'], { vocabSize: 280, specialTokens: ['<pad>', '<s>', '</s>'], minFrequency: 1, addPrefixSpace: false }));

function write(ids: readonly number[], stop: readonly string[] = []): { deltas: string[]; text: string; isStopped: boolean } {
  const row = new RowText(tokenizer, stop);
  const deltas = ids.map((id) => row.add(id, -1));
  const { delta, text, isStopped } = row.finish(ids);
  return { deltas: [...deltas, delta], text, isStopped };
}

test('whatever is written, the deltas put together are the text', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 279 }), { maxLength: 30 }), (ids) => {
      const { deltas, text } = write(ids);
      expect(text).toBe(tokenizer.decode(ids, { skipSpecialTokens: true }).trim());
      // Bytes that never become a character are told at the end, together with what follows them.
      if (!text.includes('\uFFFD')) expect(deltas.join('')).toBe(text);
    }),
  );
});

test('half a character waits for its other half', () => {
  const ids = tokenizer.encode('dog 🐕!', { addSpecialTokens: false });
  const { deltas, text } = write(ids);
  expect(text).toBe('dog 🐕!');
  expect(deltas.join('')).toBe(text);
  for (const delta of deltas) expect(delta).not.toContain('\uFFFD');
});

test('a stop text is never sent, not even its beginning', () => {
  const ids = tokenizer.encode('a dog.\nQ: what', { addSpecialTokens: false });
  const { deltas, text, isStopped } = write(ids, ['\nQ:', 'never']);
  expect(isStopped).toBe(true);
  expect(text).toBe('a dog.');
  expect(deltas.join('')).toBe('a dog.');
});

test('what only looked like a stop text is sent in the end', () => {
  const { deltas, text, isStopped } = write(tokenizer.encode('a dog Q', { addSpecialTokens: false }), [' Q:']);
  expect(isStopped).toBe(false);
  expect(text).toBe('a dog Q');
  expect(deltas.join('')).toBe(text);
});

test('what each token adds makes the whole text, blanks included', () => {
  const pieces = tokenPieces(tokenizer);
  expect(pieces).toHaveLength(tokenizer.vocabSize);
  expect(tokenPieces(tokenizer)).toBe(pieces);
  for (const text of ['a brown dog', 'two dogs a brown', 'dog']) {
    expect(tokenizer.encode(text, { addSpecialTokens: false }).map((id) => pieces[id]).join('')).toBe(text);
  }
  expect(pieces[tokenizer.tokenToId('</s>')!]).toBe('');
});
