/**
 * Decoding options: camelCase in memory, snake_case in `generation_config.json`. Lengths count new tokens only, whatever stands before
 * them: `max_length` of a file is read so too, because counting the prompt is how captions end up with a negative length.
 */
import type { SpecialTokens } from '@querent/core';
import { QuerentError } from '@querent/core';

export interface GenerationOptions {
  /** Most tokens to say, end token included. Default 30. */
  readonly maxNewTokens?: number;
  /** The end token is not allowed before so many. Default 0. */
  readonly minNewTokens?: number;
  /** 1 is greedy or sampling. Default 1. */
  readonly numBeams?: number;
  /** How many texts per row. Default 1; at most `numBeams` when there are beams. */
  readonly numReturnSequences?: number;
  /** Beam scores are sums of log-probabilities divided by length to this power: above 0 favours long texts, below 0 short ones. Default 1. */
  readonly lengthPenalty?: number;
  /** Stop a row as soon as `numBeams` texts are finished (true), when none can become better by the current length (false), or ever ('never'). Default false. */
  readonly earlyStopping?: boolean | 'never';
  /** Draw tokens instead of taking the best. Default false. */
  readonly doSample?: boolean;
  /** Scores are divided by it before sampling. Default 1. */
  readonly temperature?: number;
  /** Sample from the best so many. Default: all. */
  readonly topK?: number;
  /** Sample from the fewest tokens that hold this much probability. Default 1. */
  readonly topP?: number;
  /** Sample from tokens at least so probable, relative to the best. Default 0. */
  readonly minP?: number;
  /** Locally typical sampling's mass (Meister 2022). Default 1: off. */
  readonly typicalP?: number;
  /** Above 1 makes tokens that were said or read less likely (Keskar 2019). Default 1. */
  readonly repetitionPenalty?: number;
  /** No sequence of so many tokens is said twice. Default 0: off. */
  readonly noRepeatNgramSize?: number;
  /** Token sequences that are never said. */
  readonly badWordsIds?: readonly (readonly number[])[];
  /** Tokens that are never said. */
  readonly suppressTokens?: readonly number[];
  /** The first new token. */
  readonly forcedBosTokenId?: number;
  /** The last token when a text runs to `maxNewTokens`. */
  readonly forcedEosTokenId?: number;
  /** Overrides the model's end tokens. */
  readonly eosTokenIds?: readonly number[];
  /** Sampling repeats with the seed. Default 0. */
  readonly seed?: number;
}

/** {@link GenerationOptions} with nothing left open. */
export interface ResolvedOptions extends Required<Omit<GenerationOptions, 'topK' | 'forcedBosTokenId' | 'forcedEosTokenId' | 'eosTokenIds'>> {
  readonly topK: number | undefined;
  readonly forcedBosTokenId: number | undefined;
  readonly forcedEosTokenId: number | undefined;
  readonly eosTokenIds: readonly number[];
}

/**
 * Fills in defaults and checks ranges, all at once.
 * @throws QuerentError QRT_USAGE that names every option out of range.
 */
export function resolveOptions(options: GenerationOptions, tokens: Pick<SpecialTokens, 'eos'>): ResolvedOptions {
  const resolved: ResolvedOptions = {
    maxNewTokens: options.maxNewTokens ?? 30,
    minNewTokens: options.minNewTokens ?? 0,
    numBeams: options.numBeams ?? 1,
    numReturnSequences: options.numReturnSequences ?? 1,
    lengthPenalty: options.lengthPenalty ?? 1,
    earlyStopping: options.earlyStopping ?? false,
    doSample: options.doSample ?? false,
    temperature: options.temperature ?? 1,
    topK: options.topK,
    topP: options.topP ?? 1,
    minP: options.minP ?? 0,
    typicalP: options.typicalP ?? 1,
    repetitionPenalty: options.repetitionPenalty ?? 1,
    noRepeatNgramSize: options.noRepeatNgramSize ?? 0,
    badWordsIds: options.badWordsIds ?? [],
    suppressTokens: options.suppressTokens ?? [],
    forcedBosTokenId: options.forcedBosTokenId,
    forcedEosTokenId: options.forcedEosTokenId,
    eosTokenIds: options.eosTokenIds ?? tokens.eos,
    seed: options.seed ?? 0,
  };
  const problems: string[] = [];
  const check = (name: keyof ResolvedOptions, isGood: boolean, wanted: string): void => {
    if (!isGood) problems.push(`${name} is ${String(resolved[name])}, expected ${wanted}`);
  };
  const isCount = (value: number, least: number): boolean => Number.isInteger(value) && value >= least;
  check('maxNewTokens', isCount(resolved.maxNewTokens, 1), 'an integer of at least 1');
  check('minNewTokens', isCount(resolved.minNewTokens, 0), 'an integer of at least 0');
  check('numBeams', isCount(resolved.numBeams, 1), 'an integer of at least 1');
  check('numReturnSequences', isCount(resolved.numReturnSequences, 1), 'an integer of at least 1');
  check('numReturnSequences', resolved.numBeams === 1 || resolved.numReturnSequences <= resolved.numBeams, `at most numBeams, ${resolved.numBeams}`);
  check('numReturnSequences', resolved.numBeams > 1 || resolved.doSample || resolved.numReturnSequences === 1, '1 without beams or sampling: greedy decoding says only one text');
  check('lengthPenalty', Number.isFinite(resolved.lengthPenalty), 'a finite number');
  check('temperature', resolved.temperature > 0 && Number.isFinite(resolved.temperature), 'a number above 0');
  check('topK', resolved.topK === undefined || isCount(resolved.topK, 1), 'an integer of at least 1');
  check('topP', resolved.topP > 0 && resolved.topP <= 1, 'a number above 0, at most 1');
  check('minP', resolved.minP >= 0 && resolved.minP <= 1, 'a number from 0 to 1');
  check('typicalP', resolved.typicalP > 0 && resolved.typicalP <= 1, 'a number above 0, at most 1');
  check('repetitionPenalty', resolved.repetitionPenalty > 0 && Number.isFinite(resolved.repetitionPenalty), 'a number above 0');
  check('noRepeatNgramSize', isCount(resolved.noRepeatNgramSize, 0), 'an integer of at least 0');
  check('seed', Number.isSafeInteger(resolved.seed), 'a safe integer');
  if (problems.length > 0) {
    throw new QuerentError('QRT_USAGE', `Generation options do not fit: ${problems.join('; ')}.`, { details: problems });
  }
  return resolved;
}

/** camelCase → snake_case of `generation_config.json`. `eosTokenIds` and lengths have rules of their own below. */
const NAMES = {
  numBeams: 'num_beams',
  numReturnSequences: 'num_return_sequences',
  lengthPenalty: 'length_penalty',
  earlyStopping: 'early_stopping',
  doSample: 'do_sample',
  temperature: 'temperature',
  topK: 'top_k',
  topP: 'top_p',
  minP: 'min_p',
  typicalP: 'typical_p',
  repetitionPenalty: 'repetition_penalty',
  noRepeatNgramSize: 'no_repeat_ngram_size',
  badWordsIds: 'bad_words_ids',
  suppressTokens: 'suppress_tokens',
  forcedBosTokenId: 'forced_bos_token_id',
  forcedEosTokenId: 'forced_eos_token_id',
} as const;

/** Reads a `generation_config.json`; null and foreign keys are passed over. Values are checked by {@link resolveOptions}. */
export function fromGenerationConfig(config: Readonly<Record<string, unknown>>): GenerationOptions {
  const options: Record<string, unknown> = {};
  for (const [name, key] of Object.entries(NAMES)) if (config[key] !== undefined && config[key] !== null) options[name] = config[key];
  if (options['topK'] === 0) delete options['topK']; // transformers' way to say: all
  const most = config['max_new_tokens'] ?? config['max_length'];
  const least = config['min_new_tokens'] ?? config['min_length'];
  if (typeof most === 'number') options['maxNewTokens'] = most;
  if (typeof least === 'number') options['minNewTokens'] = least;
  const eos = config['eos_token_id'];
  if (typeof eos === 'number') options['eosTokenIds'] = [eos];
  else if (Array.isArray(eos)) options['eosTokenIds'] = eos;
  return options as GenerationOptions; // keys are its own; the values are checked before use
}

/** The `generation_config.json` that says the same. */
export function toGenerationConfig(options: GenerationOptions): Record<string, unknown> {
  const config: Record<string, unknown> = {};
  for (const [name, key] of Object.entries(NAMES)) {
    const value = options[name as keyof typeof NAMES];
    if (value !== undefined) config[key] = value;
  }
  if (options.maxNewTokens !== undefined) config['max_new_tokens'] = options.maxNewTokens;
  if (options.minNewTokens !== undefined) config['min_new_tokens'] = options.minNewTokens;
  if (options.eosTokenIds !== undefined) config['eos_token_id'] = options.eosTokenIds.length === 1 ? options.eosTokenIds[0] : options.eosTokenIds;
  return config;
}
