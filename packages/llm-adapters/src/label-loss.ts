/** The language-model loss over label positions: mean cross-entropy, and each label's log-probability. */
import type { LanguageModelLoss, LanguageModelLossOptions, Tensor } from '@querent/core';
import { cast, crossEntropy, equal, neg, not, reshape, scalar, where } from '@querent/graph';

/** The label that does not count. */
export const IGNORED = -100;

/** Loss of logits [batch, labels, vocabulary] against int64 labels [batch, labels]. */
export function labelLoss(logits: Tensor, labels: Tensor, options: LanguageModelLossOptions = {}): LanguageModelLoss {
  const labelSmoothing = options.labelSmoothing ?? 0;
  const { loss, perRow } = crossEntropy(logits, labels, { labelSmoothing, ignoreIndex: IGNORED });
  const negative = labelSmoothing === 0 ? perRow : crossEntropy(logits, labels, { ignoreIndex: IGNORED }).perRow;
  return { loss, tokenLogProbs: reshape(neg(negative), labels.shape), logits };
}

/** Labels as ids that can be embedded (`filler` at -100), and which of them are real: int64 [batch, labels] both. */
export function labelIds(labels: Tensor, filler: number): { readonly ids: Tensor; readonly mask: Tensor } {
  const isIgnored = equal(labels, IGNORED);
  return { ids: where(isIgnored, scalar(labels, filler, 'int64'), labels), mask: cast(not(isIgnored), 'int64') };
}
