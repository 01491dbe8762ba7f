/**
 * Image-grounded text generation (BLIP-2, section 3.1): the next token of the caption from the queries and the tokens
 * before it. Labels are the caption's ids with padding ignored, shifted by one here; [DEC] stands at place 0.
 */
import type { Tensor } from '@querent/core';
import { cast, concat, crossEntropy, filled, slice } from '@querent/graph';

const IGNORED = -100;

/**
 * Mean cross-entropy over the tokens after the first. `logits` [batch, tokens, vocab], `labels` int64 [batch, tokens], -100 ignored.
 * The last token has nothing to say: it gets a label that does not count, because to cut its logits off would copy all the others.
 */
export function itg(logits: Tensor, labels: Tensor, labelSmoothing = 0.1): Tensor {
  const nothing = cast(filled(labels, [labels.shape[0]!, 1], IGNORED), 'int64');
  const next = concat([slice(labels, 1, 1, Infinity), nothing], 1); // [batch, tokens]
  return crossEntropy(logits, next, { labelSmoothing, ignoreIndex: IGNORED }).loss;
}
