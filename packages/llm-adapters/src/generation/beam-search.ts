/**
 * Beam search with the semantics of transformers 5 (`GenerationMixin._beam_search`): log-softmax first, then the processors; enough
 * candidates that end tokens cannot empty the beam; a finished text counts only if it ranks among the first `numBeams`; scores are
 * divided by length to `lengthPenalty`, which may be negative.
 */
import { logSoftmax } from './logits.ts';
import type { ResolvedOptions } from './options.ts';
import { seededRandom } from './sample.ts';
import type { GeneratedSequence, RowProcessor, StopTest, Strategy, StrategyStep } from './strategy.ts';

/** Stands for minus infinity where sums must stay comparable: what transformers adds to put a candidate last. */
const LAST = -1e9;

interface Candidate {
  readonly beam: number;
  readonly id: number;
  /** Sum of log-probabilities. */
  readonly sum: number;
  /** What it is drawn by: the sum, or a perturbed one when sampling. */
  readonly rank: number;
}

/** The `count` best candidates of all beams, best first; of equals the first found. */
function bestCandidates(scores: readonly Float32Array[], sums: readonly number[], count: number, noise: (() => number) | undefined): Candidate[] {
  const best: Candidate[] = [];
  let least = -Infinity; // rank of the last candidate once there are `count`
  scores.forEach((row, beam) => {
    const before = sums[beam]!;
    for (let id = 0; id < row.length; id++) {
      const sum = row[id]! + before;
      const rank = noise === undefined || sum === -Infinity ? sum : sum + noise();
      if (rank <= least && best.length === count) continue;
      let at = best.length;
      while (at > 0 && best[at - 1]!.rank < rank) at--;
      best.splice(at, 0, { beam, id, sum, rank });
      if (best.length > count) best.pop();
      if (best.length === count) least = best[count - 1]!.rank;
    }
  });
  return best;
}

/** One row of the batch: its running beams and its finished texts. */
class Beams {
  readonly #options: ResolvedOptions;
  readonly #ends: ReadonlySet<number>;
  readonly #noise: (() => number) | undefined;
  readonly #history: readonly number[];
  readonly #isStopped: StopTest;
  #sequences: readonly (readonly number[])[];
  #sums: readonly number[];
  #finished: GeneratedSequence[] = [];
  isDone = false;

  constructor(history: readonly number[], options: ResolvedOptions, row: number, isStopped: StopTest) {
    this.#options = options;
    this.#isStopped = isStopped;
    this.#ends = new Set(options.eosTokenIds);
    this.#history = history;
    this.#sequences = Array.from({ length: options.numBeams }, () => []);
    this.#sums = this.#sequences.map((_, beam) => (beam === 0 ? 0 : LAST)); // all beams are equal at first: only one may spread
    if (options.doSample) {
      const random = seededRandom(options.seed + row * 0x10001);
      // Gumbel noise: the largest perturbed log-probabilities are a sample without replacement.
      this.#noise = () => -Math.log(-Math.log(random() + 2 ** -33));
    }
  }

  /** What the processors see of a beam. */
  sequence(beam: number): readonly number[] {
    return [...this.#history, ...this.#sequences[beam]!];
  }

  /** Takes each beam's processed log-probabilities; gives the next token and the parent of each beam. */
  advance(scores: readonly Float32Array[]): { readonly ids: readonly number[]; readonly parents: readonly number[] } {
    const { numBeams, maxNewTokens, lengthPenalty } = this.#options;
    const length = this.#sequences[0]!.length + 1;
    const candidates = bestCandidates(scores, this.#sums, Math.max(2, 1 + this.#ends.size) * numBeams, this.#noise);
    const isEnd = candidates.map(({ beam, id }) => this.#ends.has(id) || this.#isStopped([...this.#sequences[beam]!, id]));
    const isOver = (index: number): boolean => isEnd[index]! || length >= maxNewTokens;

    if (!this.isDone) {
      candidates.slice(0, numBeams).forEach((candidate, index) => {
        if (!isOver(index)) return;
        this.#finish({
          ids: [...this.#sequences[candidate.beam]!, candidate.id],
          score: candidate.sum / length ** lengthPenalty,
          finish: isEnd[index]! ? 'stop' : 'length',
        });
      });
    }
    const running = candidates
      .map((candidate, index) => ({ ...candidate, sum: candidate.sum + (isOver(index) ? LAST : 0) }))
      .sort((a, b) => b.sum - a.sum) // of what was drawn the best go on
      .slice(0, numBeams);
    this.#sequences = running.map(({ beam, id }) => [...this.#sequences[beam]!, id]);
    this.#sums = running.map(({ sum }) => sum);
    this.isDone ||= length >= maxNewTokens || !this.#canImprove(length);
    return { ids: running.map(({ id }) => id), parents: running.map(({ beam }) => beam) };
  }

  #finish(text: GeneratedSequence): void {
    this.#finished = [...this.#finished, text].sort((a, b) => b.score - a.score).slice(0, this.#options.numBeams);
  }

  /** May a running beam still beat the worst finished text? */
  #canImprove(length: number): boolean {
    const { numBeams, earlyStopping, lengthPenalty, maxNewTokens } = this.#options;
    if (this.#finished.length < numBeams) return true;
    if (earlyStopping === true) return false;
    const hypothetical = earlyStopping === 'never' && lengthPenalty > 0 ? maxNewTokens : length;
    return Math.max(...this.#sums) / hypothetical ** lengthPenalty > this.#finished[numBeams - 1]!.score;
  }

  results(count: number): readonly GeneratedSequence[] {
    return this.#finished.slice(0, count);
  }
}

/** @param histories what the processors see before the first new token, per row of the batch */
export function beamSearch(histories: readonly (readonly number[])[], options: ResolvedOptions, process: RowProcessor, isStopped: StopTest = () => false): Strategy {
  const width = options.numBeams;
  const batch = histories.map((history, row) => new Beams(history, options, row, isStopped));
  let generated = 0;
  return {
    width,
    advance(scores): StrategyStep {
      const ids: number[] = [];
      const parents: number[] = [];
      batch.forEach((beams, row) => {
        const rows = scores.slice(row * width, (row + 1) * width);
        rows.forEach((beam, i) => {
          logSoftmax(beam);
          process(beam, beams.sequence(i), generated, row * width + i);
        });
        const next = beams.advance(rows);
        ids.push(...next.ids);
        parents.push(...next.parents.map((parent) => row * width + parent));
      });
      generated++;
      return { ids, parents, deltas: [], isDone: batch.every((beams) => beams.isDone) };
    },
    results: () => batch.map((beams) => beams.results(options.numReturnSequences)),
  };
}
