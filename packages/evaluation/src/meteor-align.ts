/**
 * Which matches METEOR 1.5 takes: a beam search for the alignment with the most covered words, then the fewest chunks, then the
 * smallest distance between places (Denkowski & Lavie 2014, section 2). Published figures depend on this search with all its
 * corners, which are kept and marked below.
 */
import type { Match, MatchTable } from './meteor-match.ts';

/** Alignments that go on to the next word. */
const BEAM = 40;

interface Path {
  readonly matches: (Match | undefined)[]; // by start in the reference
  readonly referenceUsed: Uint8Array;
  readonly hypothesisUsed: Uint8Array;
  hypothesisWords: number;
  referenceWords: number;
  chunks: number;
  distance: number;
  /** The next word of the reference to look at: behind the last match. */
  next: number;
  /** Where the last match ends in the hypothesis; -1 when the word before is not matched. */
  lastEnd: number;
}

/** Words by which a match makes a path better: half of them when the words are not the same, and a path counts whole words only. */
function gain(match: Match, words: number): number {
  return match.module === 'exact' ? words : words * 0.5;
}

function take(path: Path, match: Match): void {
  path.hypothesisWords = Math.trunc(path.hypothesisWords + gain(match, match.hypothesisLength));
  path.referenceWords = Math.trunc(path.referenceWords + gain(match, match.length));
  if (path.lastEnd !== -1 && match.hypothesisStart !== path.lastEnd) path.chunks++;
  path.next = match.start + match.length;
  path.lastEnd = match.hypothesisStart + match.hypothesisLength;
}

function copy(path: Path): Path {
  return { ...path, matches: [...path.matches], referenceUsed: path.referenceUsed.slice(), hypothesisUsed: path.hypothesisUsed.slice() };
}

function mark(path: Path, match: Match): void {
  path.referenceUsed.fill(1, match.start, match.start + match.length);
  path.hypothesisUsed.fill(1, match.hypothesisStart, match.hypothesisStart + match.hypothesisLength);
}

function isFree(path: Path, match: Match): boolean {
  return !path.referenceUsed.subarray(match.start, match.start + match.length).includes(1) && !path.hypothesisUsed.subarray(match.hypothesisStart, match.hypothesisStart + match.hypothesisLength).includes(1);
}

function compare(a: Path, b: Path): number {
  return b.hypothesisWords + b.referenceWords - (a.hypothesisWords + a.referenceWords) || a.chunks - b.chunks || a.distance - b.distance;
}

/** The matches that are taken, in the order of the reference. */
export function align({ byStart, referenceCoverage, hypothesisCoverage }: MatchTable): Match[] {
  const first: Path = {
    matches: byStart.map(() => undefined),
    referenceUsed: new Uint8Array(referenceCoverage.length),
    hypothesisUsed: new Uint8Array(hypothesisCoverage.length),
    hypothesisWords: 0,
    referenceWords: 0,
    chunks: 0,
    distance: 0,
    next: 0,
    lastEnd: -1,
  };
  // Where there is no choice, the match stands from the beginning.
  for (const [only, ...others] of byStart) {
    if (only === undefined || others.length > 0) continue;
    const isAlone = (coverage: Uint32Array, start: number, length: number): boolean => coverage.subarray(start, start + length).every((count) => count === 1);
    if (!isAlone(referenceCoverage, only.start, only.length) || !isAlone(hypothesisCoverage, only.hypothesisStart, only.hypothesisLength)) continue;
    first.matches[only.start] = only;
    mark(first, only);
  }

  let paths: Path[] = [first];
  for (let word = 0; word < byStart.length; word++) {
    const further: Path[] = [];
    paths.sort(compare);
    for (const path of paths.slice(0, BEAM)) {
      if (path.referenceUsed[word] === 1) {
        if (word < path.next) {
          further.push(path); // inside a longer match
          continue;
        }
        const fixed = path.matches[path.next];
        if (fixed === undefined) continue;
        take(path, fixed);
        path.distance += Math.abs(fixed.start - fixed.hypothesisStart);
        further.push(path);
        continue;
      }
      for (const match of byStart[word] ?? []) {
        if (!isFree(path, match)) continue;
        const longer = copy(path);
        mark(longer, match);
        longer.matches[word] = match;
        take(longer, match);
        path.distance += Math.abs(match.start - match.hypothesisStart); // a corner: charged to those that do not take it
        further.push(longer);
      }
      endChunk(path); // this word is left unmatched
      path.lastEnd = -1;
      path.next++;
      further.push(path);
    }
    paths = further.length > 0 ? further : paths.slice(0, 1);
  }
  for (const path of paths.sort(compare).slice(0, BEAM)) endChunk(path);
  return (paths.slice(0, BEAM).sort(compare)[0]?.matches ?? []).filter((match) => match !== undefined);
}

function endChunk(path: Path): void {
  if (path.lastEnd !== -1) path.chunks++;
}

/** Runs of matches that are neighbours in the same order in both lines. */
export function countChunks(matches: readonly Match[]): number {
  let chunks = 0;
  let [next, hypothesisNext] = [-1, -1];
  for (const { start, length, hypothesisStart, hypothesisLength } of matches) {
    if (start !== next || hypothesisStart !== hypothesisNext) chunks++;
    [next, hypothesisNext] = [start + length, hypothesisStart + hypothesisLength];
  }
  return chunks;
}
