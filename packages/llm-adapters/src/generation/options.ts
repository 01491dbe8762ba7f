/**
 * Decoding options: camelCase in memory, snake_case in `generation_config.json`. `maxNewTokens` and `minNewTokens` count what is said;
 * `maxLength` and `minLength` count as transformers does, with the prompt and a token for each query of the image. A file's `max_length`
 * is read as new tokens, because counting the prompt is how captions end up with a negative length.
 */
import type { SpecialTokens } from '@querent/core';
import { QuerentError } from '@querent/core';

export interface GenerationOptions {
  /** Most tokens to say, end token included. Default 30. */
  readonly maxNewTokens?: number;
  /** The end token is not allowed before so many. Default 0. */
  readonly minNewTokens?: number;
  /** Most tokens altogether: what has been read (the start token of an encoder-decoder's decoder) and what is said. `maxNewTokens` comes before it. */
  readonly maxLength?: number;
  /** Fewest tokens altogether, counted like `maxLength`. `minNewTokens` comes before it. */
  readonly minLength?: number;
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
  /** Tokens that are not said first. */
  readonly beginSuppressTokens?: readonly number[];
  /** The first new token. */
  readonly forcedBosTokenId?: number;
  /** The last token when a text runs to `maxNewTokens`. */
  readonly forcedEosTokenId?: number;
  /** Tokens at given places, counted like `maxLength` from 0: `[[1, 5]]` makes 5 the first token after an encoder-decoder's start token. */
  readonly forcedDecoderIds?: readonly (readonly [number, number])[];
  /** A text ends with the token that completes one of these. */
  readonly stopStrings?: readonly string[];
  /** Overrides the model's end tokens. */
  readonly eosTokenIds?: readonly number[];
  /** Sampling repeats with the seed. Default 0. */
  readonly seed?: number;
}

const DEFAULT_NEW_TOKENS = 30;

/** {@link GenerationOptions} with nothing left open. */
export interface ResolvedOptions extends Required<Omit<GenerationOptions, 'maxLength' | 'minLength' | 'topK' | 'forcedBosTokenId' | 'forcedEosTokenId' | 'eosTokenIds'>> {
  /** How many tokens were there before the first new one. */
  readonly promptLength: number;
  readonly topK: number | undefined;
  readonly forcedBosTokenId: number | undefined;
  readonly forcedEosTokenId: number | undefined;
  readonly eosTokenIds: readonly number[];
}

/**
 * Fills in defaults and checks ranges, all at once.
 *
 * @param promptLength how many tokens stand before the first new one: queries and prompt, or the start token
 * @throws QuerentError QRT_USAGE that names every option out of range.
 */
export function resolveOptions(options: GenerationOptions, tokens: Pick<SpecialTokens, 'eos'>, promptLength = 0): ResolvedOptions {
  const { maxLength, minLength } = options;
  const resolved: ResolvedOptions = {
    promptLength,
    maxNewTokens: options.maxNewTokens ?? (maxLength === undefined ? DEFAULT_NEW_TOKENS : maxLength - promptLength),
    minNewTokens: options.minNewTokens ?? (minLength === undefined ? 0 : Math.max(0, minLength - promptLength)),
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
    beginSuppressTokens: options.beginSuppressTokens ?? [],
    forcedBosTokenId: options.forcedBosTokenId,
    forcedEosTokenId: options.forcedEosTokenId,
    forcedDecoderIds: options.forcedDecoderIds ?? [],
    stopStrings: options.stopStrings ?? [],
    eosTokenIds: options.eosTokenIds ?? tokens.eos,
    seed: options.seed ?? 0,
  };
  const problems: string[] = [];
  const check = (name: keyof ResolvedOptions, isGood: boolean, wanted: string): void => {
    if (!isGood) problems.push(`${name} is ${String(resolved[name])}, expected ${wanted}`);
  };
  const isCount = (value: unknown, least: number): boolean => typeof value === 'number' && Number.isInteger(value) && value >= least;
  const areCounts = (values: unknown): boolean => Array.isArray(values) && values.every((value) => isCount(value, 0));
  if (options.maxNewTokens === undefined && maxLength !== undefined && isCount(maxLength, 1) && resolved.maxNewTokens < 1) {
    problems.push(`maxLength is ${maxLength}, but ${promptLength} tokens have been read already: expected more, or maxNewTokens, which counts new ones only`);
  } else check('maxNewTokens', isCount(resolved.maxNewTokens, 1), 'an integer of at least 1');
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
  check('earlyStopping', [true, false, 'never'].includes(resolved.earlyStopping), "true, false or 'never'");
  check('badWordsIds', Array.isArray(resolved.badWordsIds) && resolved.badWordsIds.every((word) => areCounts(word) && word.length > 0), 'lists of token ids, none of them empty');
  for (const name of ['suppressTokens', 'beginSuppressTokens', 'eosTokenIds'] as const) check(name, areCounts(resolved[name]), 'a list of token ids');
  for (const name of ['forcedBosTokenId', 'forcedEosTokenId'] as const) check(name, resolved[name] === undefined || isCount(resolved[name], 0), 'a token id');
  check('forcedDecoderIds', Array.isArray(resolved.forcedDecoderIds) && resolved.forcedDecoderIds.every((pair) => areCounts(pair) && pair.length === 2), 'pairs of a place and a token id');
  check('stopStrings', Array.isArray(resolved.stopStrings) && resolved.stopStrings.every((text) => typeof text === 'string' && text !== ''), 'a list of texts, none of them empty');
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
  beginSuppressTokens: 'begin_suppress_tokens',
  forcedDecoderIds: 'forced_decoder_ids',
  forcedBosTokenId: 'forced_bos_token_id',
  forcedEosTokenId: 'forced_eos_token_id',
} as const;

/**
 * Reads a `generation_config.json`; null and foreign keys are passed over. Values are checked by {@link resolveOptions}.
 *
 * @param lengths what `max_length` and `min_length` count: `new` tokens, as a file's are read here, or all (`whole`), as transformers
 *   does when they are given in a call
 */
export function fromGenerationConfig(config: Readonly<Record<string, unknown>>, lengths: 'new' | 'whole' = 'new'): GenerationOptions {
  const options: Record<string, unknown> = {};
  for (const [name, key] of Object.entries(NAMES)) if (config[key] !== undefined && config[key] !== null) options[name] = config[key];
  if (options['topK'] === 0) delete options['topK']; // transformers' way to say: all
  const [most, least] = lengths === 'new' ? ['maxNewTokens', 'minNewTokens'] : ['maxLength', 'minLength'];
  const number = (name: string, value: unknown): void => {
    if (typeof value === 'number') options[name] = value;
  };
  number(most!, config['max_length']);
  number(least!, config['min_length']);
  number('maxNewTokens', config['max_new_tokens']);
  number('minNewTokens', config['min_new_tokens']);
  const stop = config['stop_strings'];
  if (typeof stop === 'string') options['stopStrings'] = [stop];
  else if (Array.isArray(stop)) options['stopStrings'] = stop;
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
  if (options.maxLength !== undefined) config['max_length'] = options.maxLength;
  if (options.minLength !== undefined) config['min_length'] = options.minLength;
  if (options.stopStrings !== undefined) config['stop_strings'] = options.stopStrings;
  if (options.maxNewTokens !== undefined) config['max_new_tokens'] = options.maxNewTokens;
  if (options.minNewTokens !== undefined) config['min_new_tokens'] = options.minNewTokens;
  if (options.eosTokenIds !== undefined) config['eos_token_id'] = options.eosTokenIds.length === 1 ? options.eosTokenIds[0] : options.eosTokenIds;
  return config;
}
