/**
 * Image-text contrastive loss (BLIP-2, section 3.1): the similarity of an image and a text is that of the text's [CLS]
 * with the best of the image's queries, divided by a learned temperature. Cross-entropy in both directions with label
 * smoothing; texts of the same image are all right answers.
 */
import type { Tensor } from '@querent/core';
import { add, cast, dimOf, div, equal, logSoftmax, mul, reduceMean, reduceSum, transpose, unsqueeze } from '@querent/graph';

export interface ItcInputs {
  /** Cosine of each image's best query with each text: float32 [images, texts], row i and column i being a pair. */
  readonly cosine: Tensor;
  /** Learned temperature: a float32 scalar. */
  readonly temperature: Tensor;
  /** Which image each row is of: int64 [batch]. Rows with equal ids are positives of one another. */
  readonly imageIds: Tensor;
  /** Default 0.1. */
  readonly labelSmoothing?: number;
}

export interface Itc {
  readonly loss: Tensor;
  readonly lossI2t: Tensor;
  readonly lossT2i: Tensor;
  /** Cosine over temperature: float32 [images, texts]. */
  readonly similarity: Tensor;
}

export function itc(inputs: ItcInputs): Itc {
  const similarity = div(inputs.cosine, inputs.temperature);
  const targets = contrastiveTargets(inputs.imageIds, inputs.labelSmoothing ?? 0.1);
  const lossI2t = softCrossEntropy(similarity, targets);
  const lossT2i = softCrossEntropy(transpose(similarity, [1, 0]), targets);
  return { loss: mul(add(lossI2t, lossT2i), 0.5), lossI2t, lossT2i, similarity };
}

/** 1 where two rows are of the same image: float32 [batch, batch]. */
export function sameImage(imageIds: Tensor): Tensor {
  return cast(equal(unsqueeze(imageIds, [1]), unsqueeze(imageIds, [0])), 'float32');
}

/** (1 - ε) shared evenly by the right answers + ε shared evenly by all. */
function contrastiveTargets(imageIds: Tensor, labelSmoothing: number): Tensor {
  const same = sameImage(imageIds);
  const right = div(same, reduceSum(same, [1]));
  const texts = cast(dimOf(imageIds, imageIds.shape[0]!), 'float32');
  return add(mul(right, 1 - labelSmoothing), div(labelSmoothing, texts));
}

/** Mean over rows of -Σ target · log softmax(scores). */
function softCrossEntropy(scores: Tensor, targets: Tensor): Tensor {
  const perRow = reduceSum(mul(targets, logSoftmax(scores)), [1], false);
  return mul(reduceMean(perRow, [0], false), -1);
}
