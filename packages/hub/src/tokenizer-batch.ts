/** Many texts as one rectangle of ids with its mask. */
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
  const ids = new BigInt64Array(rows.length * width).fill(BigInt(pad ?? 0));
  const mask = new BigInt64Array(rows.length * width);
  rows.forEach((row, r) => {
    const start = r * width + (side === 'left' ? width - row.length : 0);
    row.forEach((id, i) => {
      ids[start + i] = BigInt(id);
      mask[start + i] = 1n;
    });
  });
  const shape = [rows.length, width];
  return { inputIds: { dtype: 'int64', shape, data: ids }, attentionMask: { dtype: 'int64', shape, data: mask } };
}
