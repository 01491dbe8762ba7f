/** How the next tokens are chosen, seen by the decoding loop. `sample.ts` (greedy too) and `beam-search.ts` are the two. */

/** A finished text. */
export interface GeneratedSequence {
  /** New tokens, the end token included if it was reached. */
  readonly ids: readonly number[];
  /** Sum of log-probabilities over length to the power `lengthPenalty`. */
  readonly score: number;
  /** Why it ends: an end token or a stop text, or `maxNewTokens`. */
  readonly finish: 'stop' | 'length';
}

/** A token that is certain to be part of the result. */
export interface TokenDelta {
  /** Index in the batch. */
  readonly row: number;
  /** Which of the row's draws it belongs to: the texts of the result are put in order of their scores. */
  readonly sequence: number;
  readonly id: number;
  readonly logProb: number;
}

export interface StrategyStep {
  /** Next token of each running row. */
  readonly ids: readonly number[];
  /** Row whose memory each row goes on with; undefined: its own. */
  readonly parents: readonly number[] | undefined;
  readonly deltas: readonly TokenDelta[];
  readonly isDone: boolean;
}

export interface Strategy {
  /** Running rows per row of the batch: they lie next to each other. */
  readonly width: number;
  /** Takes the scores of each running row, float32 [vocabulary], which it may change. */
  advance(scores: readonly Float32Array[]): StrategyStep;
  /** Per row of the batch, best first. */
  results(): readonly (readonly GeneratedSequence[])[];
}

/** Changes a running row's scores before a token is chosen. */
export type RowProcessor = (scores: Float32Array, sequence: readonly number[], generated: number, row: number) => void;

/** Has a text ended with its last token, though that is no end token? */
export type StopTest = (ids: readonly number[]) => boolean;
