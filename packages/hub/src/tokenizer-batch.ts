/** Many texts as one rectangle of ids with its mask. */
import { padRows } from './pad-rows.ts';
import { QuerentError } from '@querent/core';
import type { EncodeBatchOptions, EncodedBatch, Tokenizer } from './tokenizer.ts';

/**
 * Encodes and pads; the padding id is `pad`, else `eos` (as is usual for GPT-2), and is masked out anyway.
 * @throws QuerentError QRT_TOKENIZER when padding is needed and the tokenizer has neither.
 */
export function encodeBatch(tokenizer: Tokenizer, texts: readonly string[], options: EncodeBatchOptions): EncodedBatch {
  const { padTo = 0, side = tokenizer.paddingSide, ...encoding } = options;
  const rows = texts.map((text) => tokenizer.encode(text, encoding));
  const width = rows.reduce((most, row) => Math.max(most, row.length), padTo);
  const pad = tokenizer.specials.pad ?? tokenizer.specials.eos;
  if (pad === undefined && rows.some((row) => row.length < width)) {
    throw new QuerentError('QRT_TOKENIZER', 'Texts of different length need padding, and the tokenizer has neither a pad nor an eos token.', {
      fix: 'Name one as `pad_token` in tokenizer_config.json.',
    });
  }
  const { ids, mask } = padRows(rows, pad ?? 0, side, width);
  const shape = [rows.length, width];
  return { inputIds: { dtype: 'int64', shape, data: ids }, attentionMask: { dtype: 'int64', shape, data: mask } };
}
