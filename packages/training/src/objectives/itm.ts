/**
 * Image-text matching (BLIP-2, section 3.1): is this text of this image? Each image meets a wrong text and each text a
 * wrong image, drawn with the probability that the contrastive similarity gives them: the hard negatives.
 */
import type { Tensor } from '@querent/core';
import { add, argMax, crossEntropy, mul, transpose } from '@querent/graph';
import { sameImage } from './itc.ts';

export interface HardNegatives {
  /** For each text the row of a wrong image: int64 [batch]. */
  readonly image: Tensor;
  /** For each image the row of a wrong text: int64 [batch]. */
  readonly text: Tensor;
}

/**
 * Draws from softmax(similarity) without the positives. With g = -log(-log u), argmax(s + g) is a draw from softmax(s)
 * (the Gumbel trick), so that the draw stays inside the graph and the host only feeds noise.
 *
 * @param similarity float32 [images, texts], over temperature
 * @param noise Gumbel noise, float32 [batch, batch] each
 */
export function drawHardNegatives(similarity: Tensor, imageIds: Tensor, noise: { readonly images: Tensor; readonly texts: Tensor }): HardNegatives {
  const barred = mul(sameImage(imageIds), -1e6);
  const draw = (scores: Tensor, gumbel: Tensor): Tensor => argMax(add(add(scores, gumbel), barred), 1);
  return { image: draw(transpose(similarity, [1, 0]), noise.images), text: draw(similarity, noise.texts) };
}

/**
 * Cross-entropy of the two-class logits [3 * batch, 2] of the true pairs, then the wrong images, then the wrong texts.
 * Knowing nothing costs 0.6365 (two thirds are wrong): a loss that stays there has not begun to learn.
 */
export function itm(logits: Tensor, labels: Tensor): Tensor {
  return crossEntropy(logits, labels).loss;
}

