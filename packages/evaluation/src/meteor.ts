/**
 * METEOR 1.5 for English (Denkowski & Lavie 2014), as pycocoevalcap's `Meteor` computes it (`-l en -norm`): a weighted harmonic mean of
 * precision and recall over aligned words, lowered by how broken up the alignment is. Next: `meteor-match.ts`, `meteor-align.ts`;
 * `meteor-data.ts` reads what synonyms and paraphrases need.
 */
import { assertPairs } from './caption-pairs.ts';
import { align, countChunks } from './meteor-align.ts';
import { createLines, findMatches } from './meteor-match.ts';
import type { Line, MeteorModule, MeteorResources } from './meteor-match.ts';
import { meteorWords } from './meteor-normalise.ts';

// The tuned parameters of the English version (their table 1), and what a match of each matcher is worth.
const ALPHA = 0.85;
const BETA = 0.2;
const GAMMA = 0.6;
const DELTA = 0.75;
const WEIGHT: Readonly<Record<MeteorModule, number>> = { exact: 1, stem: 0.6, synonym: 0.8, paraphrase: 0.6 };

/** Function words: more frequent than one in a thousand in the news of WMT, as the authors counted them. They weigh 1 - delta. */
const FUNCTION_WORDS: ReadonlySet<string> = new Set(
  (
    'the , . to of and a in that for " is on \'s it with was as said at he by be from have has are his but an this not i will ’ they ) -rrb- ( -lrb- who their had we which were been more or s its ' +
    "would about new one after you : also up when there than $ all out her people she year two - can if last first “ over other ” into some what so -- no time years could ? 't — '"
  ).split(' '),
);

export interface MeteorScores {
  /** Over all images: counts are added first, as the tool does it; not the mean of `perImage`. In [0, 1]. */
  readonly corpus: number;
  readonly perImage: readonly number[];
  /** What was in use: `exact`, `stem`, the name of the synonyms, `paraphrase`. */
  readonly modules: readonly string[];
  /** `METEOR` with all four and METEOR's own data; otherwise what was in use, `exact+stem`: such figures do not compare with published ones. */
  readonly name: string;
}

/** Counts of one side of an alignment. */
interface Side {
  words: number;
  matched: number;
  weightedWords: number;
  weightedMatches: number;
}

interface Counts {
  readonly hypothesis: Side;
  readonly reference: Side;
  chunks: number;
}

function emptyCounts(): Counts {
  const side = (): Side => ({ words: 0, matched: 0, weightedWords: 0, weightedMatches: 0 });
  return { hypothesis: side(), reference: side(), chunks: 0 };
}

const weightOf = (word: string | undefined): number => (word !== undefined && FUNCTION_WORDS.has(word) ? 1 - DELTA : DELTA);

function count(hypothesisLine: Line, referenceLine: Line, resources: MeteorResources): Counts {
  const matches = align(findMatches(hypothesisLine, referenceLine, resources));
  const [hypothesis, reference] = [hypothesisLine.words, referenceLine.words];
  const counts = emptyCounts();
  const addWords = (side: Side, words: readonly string[]): void => {
    side.words += words.length;
    for (const word of words) side.weightedWords += weightOf(word);
  };
  const addMatch = (side: Side, words: readonly string[], start: number, length: number, weight: number): void => {
    side.matched += length;
    for (const word of words.slice(start, start + length)) side.weightedMatches += weight * weightOf(word);
  };
  addWords(counts.hypothesis, hypothesis);
  addWords(counts.reference, reference);
  for (const { module, start, length, hypothesisStart, hypothesisLength } of matches) {
    addMatch(counts.hypothesis, hypothesis, hypothesisStart, hypothesisLength, WEIGHT[module]);
    addMatch(counts.reference, reference, start, length, WEIGHT[module]);
  }
  counts.chunks = countChunks(matches);
  return counts;
}

function scoreOf({ hypothesis, reference, chunks }: Counts): number {
  // P = Σ w·δ / Σ δ over the hypothesis, R the same over the reference; F = P·R / (α·P + (1 - α)·R)
  const precision = hypothesis.weightedMatches / hypothesis.weightedWords;
  const recall = reference.weightedMatches / reference.weightedWords;
  if (!(precision > 0) || !(recall > 0)) return 0;
  const mean = 1 / ((1 - ALPHA) / precision + ALPHA / recall);
  // Pen = γ·(chunks / matches)^β, none when everything is matched in one piece
  const isWhole = hypothesis.matched === hypothesis.words && reference.matched === reference.words && chunks === 1;
  const fragmentation = isWhole ? 0 : chunks / ((hypothesis.matched + reference.matched) / 2);
  return Math.max(0, mean * (1 - GAMMA * fragmentation ** BETA));
}

function addTo(sum: Counts, one: Counts): void {
  for (const side of ['hypothesis', 'reference'] as const) {
    for (const key of ['words', 'matched', 'weightedWords', 'weightedMatches'] as const) sum[side][key] += one[side][key];
  }
  sum.chunks += one.chunks;
}

/**
 * METEOR of one hypothesis an image against its references, all as PTB tokens; of several references the best counts.
 *
 * @throws QuerentError QRT_USAGE when there are no images, the lists differ in length, or an image has no reference.
 */
export function meteor(hypotheses: readonly (readonly string[])[], references: readonly (readonly (readonly string[])[])[], resources: MeteorResources = {}): MeteorScores {
  assertPairs('meteor', hypotheses, references);
  const total = emptyCounts();
  const line = createLines(resources);
  const perImage = hypotheses.map((tokens, image) => {
    const hypothesis = line(meteorWords(tokens.join(' ')));
    let best: Counts | undefined;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (const reference of references[image] ?? []) {
      const counts = count(hypothesis, line(meteorWords(reference.join(' '))), resources);
      const score = scoreOf(counts);
      if (score <= bestScore) continue;
      [best, bestScore] = [counts, score];
    }
    if (best !== undefined) addTo(total, best);
    return bestScore;
  });
  const modules = ['exact', 'stem', ...(resources.synonyms === undefined ? [] : [resources.synonyms.name]), ...(resources.paraphrases === undefined ? [] : ['paraphrase'])];
  const used = modules.join('+');
  return { corpus: scoreOf(total), perImage, modules, name: used === 'exact+stem+synonym+paraphrase' ? 'METEOR' : used };
}
