/** Verifies a tokenizer: ids with and without special tokens, tokens, and both directions of decoding, all exactly. */
import { join } from 'node:path';
import { QuerentError } from '@querent/core';
import { createTokenizer, isJsonObject, readJsonObject } from '@querent/hub';
import type { JsonObject } from '@querent/hub';
import { part, reportOf } from './fixture.ts';
import type { Fixture } from './fixture.ts';
import type { VerifyReport } from './report.ts';
import { compareExactly } from './report.ts';

const isIds = (value: unknown): value is readonly number[] => Array.isArray(value) && value.every((id) => typeof id === 'number');

export async function verifyTokenizer(fixture: Fixture): Promise<VerifyReport> {
  const tokenizer = createTokenizer(await readJsonObject(join(fixture.folder, 'tokenizer.json')), part(fixture.notes, 'special'));
  const cases = listOf(fixture, 'cases').map((given) => {
    const { text, ids } = given;
    if (typeof text !== 'string' || !isIds(ids)) throw new QuerentError('QRT_CONFIG_INVALID', 'expected.json: a case has no text or ids.', { fix: 'The fixture is not complete: make it again.' });
    return { given, text, ids, of: JSON.stringify(text) };
  });
  const unknown = tokenizer.specials.unk;
  const add = (name: string, pairs: readonly { readonly actual: unknown; readonly expected: unknown; readonly of?: string }[]): void => {
    if (pairs.length > 0) fixture.outputs.push(compareExactly(name, pairs));
  };
  add('ids', cases.map(({ text, ids, of }) => ({ actual: tokenizer.encode(text), expected: ids, of })));
  add('ids_no_special', cases.map(({ text, given, of }) => ({ actual: tokenizer.encode(text, { addSpecialTokens: false }), expected: given['ids_no_special'], of })));
  // The token of an unknown piece is the text itself in Python; its id is that of <unk>.
  add('tokens', cases.map(({ ids, given, of }) => {
    const tokens = Array.isArray(given['tokens']) ? given['tokens'] : [];
    const known = (list: readonly unknown[]): readonly unknown[] => list.map((token, i) => (ids[i] === unknown ? '' : token));
    return { actual: known(ids.map((id) => tokenizer.idToToken(id))), expected: known(tokens), of };
  }));
  add('decode', cases.map(({ ids, given, of }) => ({ actual: tokenizer.decode(ids), expected: given['decode'], of })));
  add('decode_skip_special', cases.map(({ ids, given, of }) => ({ actual: tokenizer.decode(ids, { skipSpecialTokens: true }), expected: given['decode_skip_special'], of })));
  const random = listOf(fixture, 'random_id_decodes').flatMap((given) => (isIds(given['ids']) ? [{ given, ids: given['ids'], of: JSON.stringify(given['ids']) }] : []));
  add('random_id_decodes', random.map(({ given, ids, of }) => ({ actual: tokenizer.decode(ids, { skipSpecialTokens: true }), expected: given['decode'], of })));
  add('random_id_decodes_keep_special', random.map(({ given, ids, of }) => ({ actual: tokenizer.decode(ids), expected: given['decode_keep_special'], of })));
  if (typeof fixture.notes['vocab_size'] === 'number') add('vocab_size', [{ actual: tokenizer.vocabSize, expected: fixture.notes['vocab_size'] }]);
  fixture.notCompared.push({ name: 'offsets', reason: 'the tokenizer gives no offsets' });
  if (fixture.notes['pair'] !== undefined) fixture.notCompared.push({ name: 'pair', reason: 'pairs of texts are not encoded together' });
  return reportOf(fixture, 'tokenizer');
}

function listOf(fixture: Fixture, key: string): readonly JsonObject[] {
  const list = fixture.notes[key];
  return Array.isArray(list) ? list.filter(isJsonObject) : [];
}
