/**
 * Image-grounded text generation (BLIP-2, section 3.1): the next token of the caption from the queries and the tokens
 * before it. Labels are the caption's ids with padding ignored, shifted by one here; [DEC] stands at place 0.
 */
import type { Tensor } from '@querent/core';
import { crossEntropy, slice } from '@querent/graph';

/** Mean cross-entropy over the tokens after the first. `logits` [batch, tokens, vocab], `labels` int64 [batch, tokens], -100 ignored. */
export function itg(logits: Tensor, labels: Tensor, labelSmoothing = 0.1): Tensor {
  return crossEntropy(slice(logits, 1, 0, -1), slice(labels, 1, 1, Infinity), { labelSmoothing }).loss;
}
