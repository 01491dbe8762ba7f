/**
 * BLEU-1 to BLEU-4 (Papineni 2002) as pycocoevalcap's `Bleu` computes them: clipped n-gram counts summed over the corpus,
 * no smoothing beyond its tiny constants, and the closest reference length for the brevity penalty.
 */
import { assertPairs } from './caption-pairs.ts';
import { NGRAM_ORDER, countNgrams } from './ngrams.ts';

// pycocoevalcap's guards against division by zero; they decide the figures of images without a match.
const SMALL = 1e-9;
const TINY = 1e-15;

export interface BleuScores {
  /** BLEU-1, -2, -3, -4 of the corpus, each in [0, 1]. */
  readonly corpus: readonly number[];
  /** The same four for each image. */
  readonly perImage: readonly (readonly number[])[];
}

interface Counts {
  hypothesisLength: number;
  referenceLength: number;
  /** Per n: how many n-grams the hypothesis has, and how many of them a reference has too. */
  guessed: number[];
  correct: number[];
}

/** Geometric mean of the first 1 … 4 precisions, times the brevity penalty. */
function scores({ hypothesisLength, referenceLength, guessed, correct }: Counts): number[] {
  const ratio = (hypothesisLength + TINY) / (referenceLength + SMALL);
  const brevity = ratio < 1 ? Math.exp(1 - 1 / ratio) : 1;
  let product = 1;
  return guessed.map((guesses, order) => {
    product *= ((correct[order] ?? 0) + TINY) / (guesses + SMALL);
    return product ** (1 / (order + 1)) * brevity;
  });
}

/** The nearest length; of two as near, the shorter. */
function closest(lengths: readonly number[], length: number): number {
  return lengths.reduce((best, candidate) => {
    const difference = Math.abs(candidate - length) - Math.abs(best - length);
    return difference < 0 || (difference === 0 && candidate < best) ? candidate : best;
  });
}

function countMatches(hypothesis: readonly string[], references: readonly (readonly string[])[]): Counts {
  const most = new Map<string, number>();
  for (const reference of references) {
    for (const counts of countNgrams(reference)) {
      for (const [ngram, count] of counts) most.set(ngram, Math.max(most.get(ngram) ?? 0, count));
    }
  }
  const correct = countNgrams(hypothesis).map((counts) => {
    let sum = 0;
    for (const [ngram, count] of counts) sum += Math.min(count, most.get(ngram) ?? 0);
    return sum;
  });
  const lengths = references.map((reference) => reference.length);
  return {
    hypothesisLength: hypothesis.length,
    referenceLength: closest(lengths, hypothesis.length),
    guessed: Array.from({ length: NGRAM_ORDER }, (_, order) => Math.max(0, hypothesis.length - order)),
    correct,
  };
}

/**
 * BLEU of one hypothesis an image against its references, all as tokens.
 *
 * @throws QuerentError QRT_USAGE when there are no images, the lists differ in length, or an image has no reference.
 */
export function bleu(hypotheses: readonly (readonly string[])[], references: readonly (readonly (readonly string[])[])[]): BleuScores {
  assertPairs('bleu', hypotheses, references);
  const total: Counts = { hypothesisLength: 0, referenceLength: 0, guessed: [0, 0, 0, 0], correct: [0, 0, 0, 0] };
  const perImage = hypotheses.map((hypothesis, image) => {
    const counts = countMatches(hypothesis, references[image] ?? []);
    total.hypothesisLength += counts.hypothesisLength;
    total.referenceLength += counts.referenceLength;
    for (let order = 0; order < NGRAM_ORDER; order += 1) {
      total.guessed[order] = (total.guessed[order] ?? 0) + (counts.guessed[order] ?? 0);
      total.correct[order] = (total.correct[order] ?? 0) + (counts.correct[order] ?? 0);
    }
    return scores(counts);
  });
  return { corpus: scores(total), perImage };
}
