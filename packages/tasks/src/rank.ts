/**
 * Rank: instead of writing an answer, the language model says how likely each of a list of answers is (BLIP's and BLIP-2's "rank"
 * inference for VQA with a closed answer list; LAVIS `_rank_answers`). A candidate's score is the sum of the log-probabilities of its
 * tokens and of the end, given the image and the question: as such, candidates of different lengths compare.
 */
import { mapBatches } from '@querent/core';
import type { JsonSchema, LoadedModel, Result, Stage, TensorData } from '@querent/core';
import { batching } from './stages.ts';
import type { BatchedOptions } from './stages.ts';
import { stack } from './tensors.ts';

/** A candidate with its score. */
export interface RankedText {
  readonly text: string;
  /** Log-probability of the whole text and its end. */
  readonly score: number;
  /** Share of its probability among the candidates; they sum to 1. */
  readonly probability: number;
}

/** A row for {@link ranked}. */
export interface CandidateRow {
  /** float32 [queries, hidden] */
  readonly softPrompt: TensorData<'float32'>;
  readonly prompt: string;
  readonly candidates: readonly string[];
}

export const rankedTextSchema: JsonSchema = {
  type: 'object',
  properties: {
    text: { type: 'string', description: 'The candidate.' },
    score: { type: 'number', description: 'Log-probability of its tokens and of the end.' },
    probability: { type: 'number', minimum: 0, maximum: 1, description: 'Share of its probability among the candidates.' },
  },
  required: ['text', 'score', 'probability'],
};

/** Candidates with their scores, likeliest first; equal ones in the order given. */
export function ranking(candidates: readonly string[], scores: Float32Array): RankedText[] {
  const most = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = Array.from(scores, (score) => Math.exp(score - most));
  const sum = weights.reduce((a, b) => a + b, 0);
  const texts = candidates.map((text, i): RankedText => ({ text, score: scores[i]!, probability: weights[i]! / sum }));
  return texts.toSorted((a, b) => b.score - a.score);
}

/** Soft prompts with candidates → rankings. Rows of a batch that have the same candidates are scored together. */
export function ranked<Item>(model: LoadedModel, options: BatchedOptions = {}): Stage<Result<Item, CandidateRow>, Result<Item, RankedText[]>> {
  return mapBatches<Item, CandidateRow, RankedText[]>((rows, { signal }) => rankRows(model, rows, signal), batching(options));
}

/** The rankings of rows, in their order. */
export async function rankRows(model: LoadedModel, rows: readonly CandidateRow[], signal: AbortSignal): Promise<RankedText[][]> {
  const alike = new Map<string, number[]>();
  rows.forEach(({ candidates }, i) => {
    const key = JSON.stringify(candidates);
    alike.set(key, [...(alike.get(key) ?? []), i]);
  });
  const rankings: RankedText[][] = [];
  for (const indices of alike.values()) {
    const group = indices.map((i) => rows[i]!);
    const { candidates } = group[0]!;
    const scores = await model.score(stack(group.map((row) => row.softPrompt)), candidates, { prompt: group.map((row) => row.prompt), lengthPenalty: 0, signal });
    indices.forEach((i, row) => (rankings[i] = ranking(candidates, scores[row]!)));
  }
  return rankings;
}
