/**
 * Image-grounded text generation (BLIP-2, section 3.1): the next token of the caption from the queries and the tokens
 * before it. [DEC] stands at place 0, and the last token is only ever a label.
 */
import type { Tensor } from '@querent/core';
import { crossEntropy } from '@querent/graph';

/** The label of padding. */
export const IGNORED = -100;

/** Mean cross-entropy. `logits` [batch, tokens, vocab]; `next` int64 [batch, tokens]: the token after each, {@link IGNORED} where there is none. */
export function itg(logits: Tensor, next: Tensor, labelSmoothing = 0.1): Tensor {
  return crossEntropy(logits, next, { labelSmoothing, ignoreIndex: IGNORED }).loss;
}
