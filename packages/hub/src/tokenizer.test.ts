import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { createTokenizer, loadTokenizer } from './tokenizer.ts';
import type { JsonObject } from './json-file.ts';

const goldens = join(dirname(fileURLToPath(import.meta.url)), '../../../test/goldens/v1/tokenizers');

interface Expected {
  special: JsonObject;
  vocab_size: number;
  cases: { text: string; ids: number[]; tokens: string[]; ids_no_special: number[]; decode: string; decode_skip_special: string }[];
  random_id_decodes: { ids: number[]; decode: string; decode_keep_special: string }[];
}

// The fixtures are ours: no check needed behind these casts.
const json = (file: string): JsonObject => JSON.parse(readFileSync(join(goldens, file), 'utf8')) as JsonObject;

describe.each(['gpt2', 'opt', 'bert-wordpiece', 't5-unigram', 'llama-bpe'])('%s equals Python', (name) => {
  const expected = json(`${name}/expected.json`) as unknown as Expected;
  const tokenizer = createTokenizer(json(`${name}/tokenizer.json`), expected.special);

  test('ids and tokens', () => {
    for (const { text, ids, tokens, ids_no_special } of expected.cases) {
      // Python's `tokens` of an unknown Unigram piece is the text itself; its id is that of <unk>.
      const found = tokenizer.encode(text);
      expect(found, text).toEqual(ids);
      expect(tokenizer.encode(text, { addSpecialTokens: false }), text).toEqual(ids_no_special);
      found.forEach((id, i) => {
        if (id !== tokenizer.specials.unk) expect(tokenizer.idToToken(id), text).toBe(tokens[i]);
      });
    }
  });

  test('decodes', () => {
    for (const { ids, decode, decode_skip_special } of expected.cases) {
      expect(tokenizer.decode(ids)).toBe(decode);
      expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(decode_skip_special);
    }
    for (const { ids, decode, decode_keep_special } of expected.random_id_decodes) {
      expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(decode);
      expect(tokenizer.decode(ids)).toBe(decode_keep_special);
    }
  });

  test('vocabulary size and roles', () => {
    expect(tokenizer.vocabSize).toBe(expected.vocab_size);
    for (const [role, token] of Object.entries(expected.special)) {
      const id = tokenizer.specials[role.replace('_token', '') as keyof typeof tokenizer.specials]; // a role by its HF name
      expect(id).toBe(tokenizer.tokenToId(String(token)));
    }
  });
});

test('a batch is padded on the chosen side and masked', async () => {
  const tokenizer = await loadTokenizer(join(goldens, 'bert-wordpiece'));
  const { pad, cls, sep } = tokenizer.specials;
  expect([pad, cls, sep]).toEqual([0, 2, 3]);
  const right = tokenizer.encodeBatch(['a', 'a photo']);
  expect(right.inputIds.shape).toEqual([2, 4]);
  expect([...right.attentionMask.data]).toEqual([1n, 1n, 1n, 0n, 1n, 1n, 1n, 1n]);
  const left = tokenizer.encodeBatch(['a'], { padTo: 5, side: 'left' });
  expect([...left.inputIds.data]).toEqual([0n, 0n, 2n, 14n, 3n]);
});

test('truncation cuts the text and keeps the frame', async () => {
  const tokenizer = await loadTokenizer(join(goldens, 'bert-wordpiece', 'tokenizer.json'));
  const whole = tokenizer.encode('a photo of a dog', { addSpecialTokens: false });
  expect(tokenizer.encode('a photo of a dog', { maxLength: 4 })).toEqual([2, ...whole.slice(0, 2), 3]);
  expect(tokenizer.encode('a photo of a dog', { maxLength: 4, truncate: 'left' })).toEqual([2, ...whole.slice(-2), 3]);
});

test('damaged tokenizers are refused with a code', () => {
  const good = json('t5-unigram/tokenizer.json');
  const bad: JsonObject[] = [
    {},
    { ...good, model: { type: 'Magic' } },
    { ...good, model: { type: 'BPE', vocab: { a: 1e12 }, merges: [] } },
    { ...good, model: { type: 'BPE', vocab: { a: 1 }, merges: [7] } },
    { ...good, model: { type: 'Unigram', vocab: [7] } },
    { ...good, added_tokens: [{ id: -1, content: 'x' }] },
    { ...good, decoder: { type: 'Magic' } },
    { ...good, post_processor: { type: 'TemplateProcessing', single: [{ SpecialToken: { id: 'x' } }] } },
    { ...good, normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAAA' } },
    { ...good, pre_tokenizer: { type: 'Magic' } },
  ];
  for (const document of bad) expect(() => createTokenizer(document), JSON.stringify(document).slice(0, 80)).toThrow(expect.objectContaining({ code: 'QRT_TOKENIZER' }));
});

test('a missing tokenizer is QRT_FILE', async () => {
  await expect(loadTokenizer(join(goldens, 'no-such'))).rejects.toMatchObject({ code: 'QRT_FILE' });
});
