/** Counts of n-grams, which BLEU and CIDEr compare. */

/** Both scores look at n = 1 … 4. */
export const NGRAM_ORDER = 4;

/** Stands between the tokens of an n-gram: no token holds a line feed. */
const JOINT = '\n';

/** n-gram → how often, for n = 1 … 4 (index `n - 1`). */
export function countNgrams(tokens: readonly string[]): Map<string, number>[] {
  const shorter = [...tokens]; // the n-gram that begins at each token, one token shorter than those being counted
  return Array.from({ length: NGRAM_ORDER }, (_, order) => {
    const counts = new Map<string, number>();
    for (let start = 0; start + order < tokens.length; start += 1) {
      const ngram = order === 0 ? (shorter[start] ?? '') : `${shorter[start] ?? ''}${JOINT}${tokens[start + order] ?? ''}`;
      shorter[start] = ngram;
      counts.set(ngram, (counts.get(ngram) ?? 0) + 1);
    }
    return counts;
  });
}
