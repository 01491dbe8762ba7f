/** ROUGE-L (Lin 2004) as pycocoevalcap's `Rouge` computes it: beta 1.2, best precision and best recall over the references. */
import { assertPairs, mean } from './caption-pairs.ts';

const BETA = 1.2;

export interface RougeScores {
  /** Mean over the images, in [0, 1]. */
  readonly corpus: number;
  readonly perImage: readonly number[];
}

/** Length of the longest common subsequence. */
function longestCommonSubsequence(a: readonly string[], b: readonly string[]): number {
  let row = new Uint32Array(b.length + 1);
  for (const token of a) {
    const next = new Uint32Array(b.length + 1);
    for (let j = 0; j < b.length; j += 1) {
      next[j + 1] = token === b[j] ? (row[j] ?? 0) + 1 : Math.max(row[j + 1] ?? 0, next[j] ?? 0);
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function rougeOf(hypothesis: readonly string[], references: readonly (readonly string[])[]): number {
  let precision = 0;
  let recall = 0;
  for (const reference of references) {
    const common = longestCommonSubsequence(hypothesis, reference);
    if (common === 0) continue;
    precision = Math.max(precision, common / hypothesis.length);
    recall = Math.max(recall, common / reference.length);
  }
  // F = (1 + beta²)·P·R / (R + beta²·P)
  return precision === 0 ? 0 : ((1 + BETA ** 2) * precision * recall) / (recall + BETA ** 2 * precision);
}

/**
 * ROUGE-L of one hypothesis an image against its references, all as tokens.
 *
 * @throws QuerentError QRT_USAGE when there are no images, the lists differ in length, or an image has no reference.
 */
export function rougeL(hypotheses: readonly (readonly string[])[], references: readonly (readonly (readonly string[])[])[]): RougeScores {
  assertPairs('rougeL', hypotheses, references);
  const perImage = hypotheses.map((hypothesis, image) => rougeOf(hypothesis, references[image] ?? []));
  return { corpus: mean(perImage), perImage };
}
