/**
 * METEOR's four matchers (Denkowski & Lavie 2014, section 2): which words and phrases of a hypothesis may stand for which of a reference.
 * Next: `meteor-align.ts`, which chooses among what is found here.
 */
import { stemEnglish } from './meteor-stem.ts';

/** The matchers, in the order in which they look. */
export type MeteorModule = 'exact' | 'stem' | 'synonym' | 'paraphrase';

/** A word or phrase of the hypothesis that may stand for one of the reference. */
export interface Match {
  readonly module: MeteorModule;
  /** Where it begins in the reference, and how many words it has there. */
  readonly start: number;
  readonly length: number;
  /** The same in the hypothesis. */
  readonly hypothesisStart: number;
  readonly hypothesisLength: number;
}

/** The senses of a word: sets of synonyms, by number. */
export interface Synonyms {
  /** What is used, for the name of a figure: `synonym`, or with whose data. */
  readonly name: string;
  /** Numbers of the sets that the word or its base forms are in; empty for a word that is not known. */
  senses(word: string): ReadonlySet<number>;
}

/** Phrase → phrases that may stand for it; words with one blank between. */
export type Paraphrases = ReadonlyMap<string, readonly string[]>;

/** What the matchers look into. Exact and stem need nothing. */
export interface MeteorResources {
  readonly synonyms?: Synonyms | undefined;
  readonly paraphrases?: Paraphrases | undefined;
}

/** Matches by where they begin in the reference, and how many of them cover each word. */
export interface MatchTable {
  readonly byStart: readonly (readonly Match[])[];
  readonly referenceCoverage: Uint32Array;
  readonly hypothesisCoverage: Uint32Array;
}

/** A line with what its words are compared by. */
export interface Line {
  readonly words: readonly string[];
  readonly stems: readonly string[];
  readonly senses: readonly ReadonlySet<number>[];
}

/** Looks words up, each once. */
export function createLines({ synonyms }: MeteorResources): (words: readonly string[]) => Line {
  const stems = new Map<string, string>();
  const senses = new Map<string, ReadonlySet<number>>();
  const once = <T>(known: Map<string, T>, make: (word: string) => T) => (word: string): T => {
    const found = known.get(word) ?? make(word);
    known.set(word, found);
    return found;
  };
  return (words) => ({ words, stems: words.map(once(stems, stemEnglish)), senses: synonyms === undefined ? [] : words.map(once(senses, (word) => synonyms.senses(word))) });
}

/** Words of the longest phrase of the published table. */
const LONGEST_PHRASE = 16;

/** All that could be matched. Two equal lines are matched word by word only. */
export function findMatches({ words: hypothesis, ...ofHypothesis }: Line, { words: reference, ...ofReference }: Line, { synonyms, paraphrases }: MeteorResources): MatchTable {
  const byStart: Match[][] = reference.map(() => []);
  const referenceCoverage = new Uint32Array(reference.length);
  const hypothesisCoverage = new Uint32Array(hypothesis.length);
  const add = (module: MeteorModule, start: number, length: number, hypothesisStart: number, hypothesisLength: number): void => {
    byStart[start]?.push({ module, start, length, hypothesisStart, hypothesisLength });
    for (let i = start; i < start + length; i++) referenceCoverage[i] = (referenceCoverage[i] ?? 0) + 1;
    for (let i = hypothesisStart; i < hypothesisStart + hypothesisLength; i++) hypothesisCoverage[i] = (hypothesisCoverage[i] ?? 0) + 1;
  };
  const pairs = (module: MeteorModule, fits: (i: number, j: number) => boolean): void => {
    for (let j = 0; j < reference.length; j++) for (let i = 0; i < hypothesis.length; i++) if (fits(i, j)) add(module, j, 1, i, 1);
  };

  pairs('exact', (i, j) => hypothesis[i] === reference[j]);
  if (hypothesis.length !== reference.length || hypothesis.some((word, i) => word !== reference[i])) {
    pairs('stem', (i, j) => ofHypothesis.stems[i] === ofReference.stems[j] && hypothesis[i] !== reference[j]);
    if (synonyms !== undefined) pairs('synonym', (i, j) => hypothesis[i] !== reference[j] && intersects(ofHypothesis.senses[i], ofReference.senses[j]));
    if (paraphrases !== undefined) {
      phrasePairs(reference, hypothesis, paraphrases, (start, length, otherStart, otherLength) => add('paraphrase', start, length, otherStart, otherLength));
      phrasePairs(hypothesis, reference, paraphrases, (start, length, otherStart, otherLength) => add('paraphrase', otherStart, otherLength, start, length));
    }
  }
  return { byStart, referenceCoverage, hypothesisCoverage };
}

function intersects(a: ReadonlySet<number> | undefined, b: ReadonlySet<number> | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  for (const one of a) if (b.has(one)) return true;
  return false;
}

/** Phrases of one line whose paraphrase is in the other. */
function phrasePairs(line: readonly string[], other: readonly string[], table: Paraphrases, found: (start: number, length: number, otherStart: number, otherLength: number) => void): void {
  for (let start = 0; start < line.length; start++) {
    for (let length = 1; length <= Math.min(LONGEST_PHRASE, line.length - start); length++) {
      for (const paraphrase of table.get(line.slice(start, start + length).join(' ')) ?? []) {
        const words = paraphrase.split(' ');
        for (let at = 0; at + words.length <= other.length; at++) if (words.every((word, k) => word === other[at + k])) found(start, length, at, words.length);
      }
    }
  }
}
