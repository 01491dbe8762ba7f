/**
 * What is done to a row of scores before a token is chosen, as pure functions that change the row in place (HF `logits_process.py`).
 * Rows are float32 [vocabulary]; a token that must not be said gets -Infinity. The order of {@link scoreProcessor} is transformers'.
 */
import type { ResolvedOptions } from './options.ts';

/** `sequence` is what the model has read and said, `generated` how many of it are new. */
export type ScoreProcessor = (scores: Float32Array, sequence: readonly number[], generated: number) => void;

/** Everything the options ask for, in transformers' order; sampling's warpers come last and only when sampling. */
export function scoreProcessor(options: ResolvedOptions): ScoreProcessor {
  const steps: ScoreProcessor[] = [];
  if (options.repetitionPenalty !== 1) steps.push((scores, sequence) => penaliseRepetition(scores, sequence, options.repetitionPenalty));
  if (options.noRepeatNgramSize > 0) steps.push((scores, sequence) => forbidRepeatedNgrams(scores, sequence, options.noRepeatNgramSize));
  // An end token by itself is no bad word: nothing would ever end.
  const badWords = options.badWordsIds.filter((word) => word.length > 1 || !options.eosTokenIds.includes(word[0]!));
  if (badWords.length > 0) steps.push((scores, sequence) => forbidSequences(scores, sequence, badWords));
  if (options.minNewTokens > 0) {
    steps.push((scores, _, generated) => {
      if (generated < options.minNewTokens) forbid(scores, options.eosTokenIds);
    });
  }
  const { forcedBosTokenId: first, forcedEosTokenId: last } = options;
  if (first !== undefined) steps.push((scores, _, generated) => generated === 0 && force(scores, first));
  if (last !== undefined) steps.push((scores, _, generated) => generated === options.maxNewTokens - 1 && force(scores, last));
  if (options.suppressTokens.length > 0) steps.push((scores) => forbid(scores, options.suppressTokens));
  if (options.beginSuppressTokens.length > 0) {
    const begin = options.promptLength <= 1 && first !== undefined ? 1 : 0; // behind the forced token
    steps.push((scores, _, generated) => generated === begin && forbid(scores, options.beginSuppressTokens));
  }
  if (options.forcedDecoderIds.length > 0) {
    const forced = new Map(options.forcedDecoderIds);
    steps.push((scores, _, generated) => {
      const id = forced.get(options.promptLength + generated);
      if (id !== undefined) force(scores, id);
    });
  }
  if (options.doSample) {
    const { temperature, topK, topP, minP, typicalP } = options;
    // Beams must be able to go on when all end tokens are among the best.
    const least = options.numBeams > 1 ? Math.max(2, options.eosTokenIds.length + 1) : 1;
    if (temperature !== 1) steps.push((scores) => divideByTemperature(scores, temperature));
    if (topK !== undefined) steps.push((scores) => keepTopK(scores, Math.max(topK, least)));
    if (topP < 1) steps.push((scores) => keepTopP(scores, topP, least));
    if (minP > 0) steps.push((scores) => keepMinP(scores, minP, least));
    if (typicalP < 1) steps.push((scores) => keepTypical(scores, typicalP, least));
  }
  return (scores, sequence, generated) => {
    for (const step of steps) step(scores, sequence, generated);
  };
}

/** Scores → log-probabilities, in place. */
export function logSoftmax(scores: Float32Array): void {
  const shift = logSumExp(scores, maximum(scores));
  for (let i = 0; i < scores.length; i++) scores[i]! -= shift;
}

/** What {@link logSoftmax} takes off each score. @param largest the largest of them */
export function logSumExp(scores: Float32Array, largest: number): number {
  let sum = 0;
  for (let i = 0; i < scores.length; i++) sum += expOfNegative(scores[i]! - largest);
  return largest + Math.log(sum);
}

/** 2^-i, and 0 where nothing is left. */
const HALVINGS: Float64Array = Float64Array.from({ length: 1080 }, (_, i) => 2 ** -i);

/**
 * e^x of x ≤ 0 to 2e-9 of it, and the same everywhere, in a quarter of `Math.exp`'s time: a vocabulary has 50,000 of them, for each token.
 * e^x = 2^-i · 2^f with f in [-1/2, 1/2], and 2^f by Taylor's series.
 */
function expOfNegative(x: number): number {
  if (!(x > -700)) return x <= -700 ? 0 : NaN;
  const y = x * -Math.LOG2E;
  const i = (y + 0.5) | 0;
  const t = (i - y) * Math.LN2;
  return HALVINGS[i]! * (1 + t * (1 + t * (1 / 2 + t * (1 / 6 + t * (1 / 24 + t * (1 / 120 + t * (1 / 720 + t * (1 / 5040 + t / 40320))))))));
}

/** Probabilities of a row of scores. */
export function softmax(scores: Float32Array): Float64Array {
  const largest = maximum(scores);
  const probabilities = Float64Array.from(scores, (score) => Math.exp(score - largest));
  let sum = 0;
  for (const p of probabilities) sum += p;
  return probabilities.map((p) => p / sum);
}

function maximum(scores: Float32Array): number {
  let largest = -Infinity;
  for (let i = 0; i < scores.length; i++) if (scores[i]! > largest) largest = scores[i]!;
  return largest;
}

/** Index of the largest score, the first of equals. */
export function argMax(scores: Float32Array): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i]! > scores[best]!) best = i;
  return best;
}

/** Tokens that stand in the sequence: positive scores are divided by `penalty`, negative ones multiplied. */
export function penaliseRepetition(scores: Float32Array, sequence: readonly number[], penalty: number): void {
  for (const id of new Set(sequence)) {
    const score = scores[id];
    if (score !== undefined) scores[id] = score < 0 ? score * penalty : score / penalty;
  }
}

/** Forbids every token that would complete an n-gram that stands in the sequence already. */
export function forbidRepeatedNgrams(scores: Float32Array, sequence: readonly number[], n: number): void {
  const tail = sequence.length - (n - 1);
  if (tail < 1) return;
  for (let start = 0; start + n <= sequence.length; start++) {
    let isSame = true;
    for (let i = 0; i < n - 1 && isSame; i++) isSame = sequence[start + i] === sequence[tail + i];
    if (isSame) forbid(scores, [sequence[start + n - 1]!]);
  }
}

/** Forbids the last token of each given sequence where its others have just been said. */
export function forbidSequences(scores: Float32Array, sequence: readonly number[], words: readonly (readonly number[])[]): void {
  for (const word of words) {
    const before = word.slice(0, -1);
    const at = sequence.length - before.length;
    if (word.length > 1 && word.length > sequence.length) continue; // transformers looks only where the whole word would fit
    if (word.length > 0 && before.every((id, i) => sequence[at + i] === id)) forbid(scores, word.slice(-1));
  }
}

/** Ids that the vocabulary does not have are passed over. */
export function forbid(scores: Float32Array, ids: readonly number[]): void {
  for (const id of ids) if (id >= 0 && id < scores.length) scores[id] = -Infinity;
}

/** Leaves one token possible. */
export function force(scores: Float32Array, id: number): void {
  scores.fill(-Infinity);
  scores[id] = 0;
}

export function divideByTemperature(scores: Float32Array, temperature: number): void {
  for (let i = 0; i < scores.length; i++) scores[i]! /= temperature;
}

/** Keeps the `k` best, and what equals the last of them. */
export function keepTopK(scores: Float32Array, k: number): void {
  if (k >= scores.length) return;
  dropBelow(scores, nthBest(scores, k));
}

/** Nucleus sampling (Holtzman 2020): the best tokens until they hold `mass`, at least `least` of them. */
export function keepTopP(scores: Float32Array, mass: number, least = 1): void {
  const largest = maximum(scores);
  const sorted = scores.filter((score) => score > -Infinity).sort(); // ascending
  let total = 0;
  for (const score of sorted) total += Math.exp(score - largest);
  let before = 0;
  for (let i = sorted.length - 1; i >= 0; i--) {
    if (before >= mass * total && sorted.length - 1 - i >= least) return dropBelow(scores, sorted[i + 1]!);
    before += Math.exp(sorted[i]! - largest);
  }
}

/** Keeps tokens whose probability is at least `share` of the best one's, and the `least` best. */
export function keepMinP(scores: Float32Array, share: number, least = 1): void {
  const limit = maximum(scores) + Math.log(share);
  dropBelow(scores, least <= 1 ? limit : Math.min(limit, nthBest(scores, least)));
}

/** Keeps the tokens whose information is nearest to the row's entropy until they hold `mass`, at least `least` of them. */
export function keepTypical(scores: Float32Array, mass: number, least = 1): void {
  const logs = scores.slice();
  logSoftmax(logs);
  let entropy = 0;
  for (const log of logs) if (log > -Infinity) entropy -= log * Math.exp(log);
  const distance = logs.map((log) => Math.abs(-log - entropy));
  const order = Array.from(logs.keys()).sort((a, b) => distance[a]! - distance[b]!);
  let held = 0;
  let kept = 0;
  let limit = Infinity;
  for (const id of order) {
    held += Math.exp(logs[id]!);
    limit = distance[id]!;
    kept++;
    if (held >= mass && kept >= least) break;
  }
  for (let id = 0; id < scores.length; id++) if (distance[id]! > limit) scores[id] = -Infinity;
}

/** The `n`-th largest score. */
function nthBest(scores: Float32Array, n: number): number {
  return scores.slice().sort()[Math.max(0, scores.length - n)]!;
}

function dropBelow(scores: Float32Array, limit: number): void {
  for (let i = 0; i < scores.length; i++) if (scores[i]! < limit) scores[i] = -Infinity;
}
