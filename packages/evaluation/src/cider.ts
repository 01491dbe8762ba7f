/**
 * CIDEr as pycocoevalcap's `Cider` computes it, which is CIDEr-D's formula (Vedantam 2015, section 3): clipped tf-idf cosine
 * for n = 1 … 4, a Gaussian penalty on the difference in length, times 10. Document frequencies come from the references.
 */
import { QuerentError } from '@querent/core';
import { assertPairs, mean } from './caption-pairs.ts';
import { NGRAM_ORDER, countNgrams } from './ngrams.ts';

const SIGMA = 6;

export interface CiderScores {
  /** Mean over the images; 0 … 10, and about 1 for good captions. */
  readonly corpus: number;
  readonly perImage: readonly number[];
}

/** References made ready once, for scoring many hypotheses: the reward of self-critical training. */
export interface CiderScorer {
  /** How many images the references are of. */
  readonly images: number;
  /**
   * CIDEr of a hypothesis for one image; 0 when it has no tokens.
   *
   * @throws QuerentError QRT_USAGE when there is no such image.
   */
  score(image: number, hypothesis: readonly string[]): number;
}

/** A caption as tf-idf vectors, one for each n. */
interface Vector {
  readonly weights: readonly ReadonlyMap<string, number>[];
  readonly norms: readonly number[];
  /** pycocoevalcap counts a caption's bigrams as its length. */
  readonly length: number;
}

/**
 * A scorer over references: `references[image]` are the captions of an image, as tokens.
 *
 * @throws QuerentError QRT_USAGE when there are no images or one has no reference.
 */
export function createCiderScorer(references: readonly (readonly (readonly string[])[])[]): CiderScorer {
  assertPairs('createCiderScorer', references, references);
  const counted = references.map((captions) => captions.map(countNgrams));

  // In how many images' references an n-gram occurs.
  const documentFrequency = new Map<string, number>();
  for (const captions of counted) {
    const seen = new Set<string>();
    for (const orders of captions) for (const counts of orders) for (const ngram of counts.keys()) seen.add(ngram);
    for (const ngram of seen) documentFrequency.set(ngram, (documentFrequency.get(ngram) ?? 0) + 1);
  }
  const logImages = Math.log(references.length);

  /** Turns the counts of a caption into weights, in place: there are many. */
  function vectorOf(orders: readonly Map<string, number>[]): Vector {
    let length = 0;
    for (const count of orders[1]?.values() ?? []) length += count;
    const norms = orders.map((counts) => {
      let squares = 0;
      for (const [ngram, count] of counts) {
        const weight = count * (logImages - Math.log(documentFrequency.get(ngram) ?? 1));
        counts.set(ngram, weight);
        squares += weight * weight;
      }
      return Math.sqrt(squares);
    });
    return { weights: orders, norms, length };
  }

  const vectors = counted.map((captions) => captions.map(vectorOf));

  return {
    images: references.length,
    score(image, hypothesis) {
      const captions = vectors[image];
      if (captions === undefined) {
        throw new QuerentError('QRT_USAGE', `There is no image ${image}: this CIDEr scorer has the references of ${references.length} images.`, {
          fix: `Give an index from 0 to ${references.length - 1}.`,
        });
      }
      const vector = vectorOf(countNgrams(hypothesis));
      let sum = 0;
      for (const caption of captions) sum += similarity(vector, caption);
      return (10 * sum) / (NGRAM_ORDER * captions.length);
    },
  };
}

/** Sum over n of the clipped cosine, with the penalty on length. */
function similarity(hypothesis: Vector, reference: Vector): number {
  const penalty = Math.exp(-((hypothesis.length - reference.length) ** 2) / (2 * SIGMA ** 2));
  let sum = 0;
  for (let order = 0; order < NGRAM_ORDER; order += 1) {
    const theirs = reference.weights[order];
    let product = 0;
    for (const [ngram, weight] of hypothesis.weights[order] ?? []) {
      const other = theirs?.get(ngram);
      if (other !== undefined) product += Math.min(weight, other) * other;
    }
    const norms = (hypothesis.norms[order] ?? 0) * (reference.norms[order] ?? 0);
    if (norms !== 0) sum += product / norms;
  }
  return sum * penalty;
}

/**
 * CIDEr of one hypothesis an image against its references, all as tokens. The references are the corpus: figures of different
 * sets of images cannot be compared.
 *
 * @throws QuerentError QRT_USAGE when there are no images, the lists differ in length, or an image has no reference.
 */
export function cider(hypotheses: readonly (readonly string[])[], references: readonly (readonly (readonly string[])[])[]): CiderScores {
  assertPairs('cider', hypotheses, references);
  const scorer = createCiderScorer(references);
  const perImage = hypotheses.map((hypothesis, image) => scorer.score(image, hypothesis));
  return { corpus: mean(perImage), perImage };
}
