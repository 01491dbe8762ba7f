/** Options of commands that write text, and what they mean to a task: one name each, in the command line's spelling. */
import { QuerentError } from '@querent/core';
import type { GenerateOptions } from 'querent';
import type { ArgsDef, StringArgDef } from 'citty';
import { finiteNumber, wholeNumber } from './command.ts';

const text = (description: string, valueHint: string): StringArgDef => ({ type: 'string', description, valueHint });

/** What {@link generateOptions} reads. `--temperature`, `--top-p` and the like draw; without them the likeliest text is searched for. */
export const GENERATE_ARGS: {
  readonly [Name in
    | 'beams' | 'n' | 'max-new-tokens' | 'min-new-tokens' | 'max-length' | 'min-length' | 'length-penalty' | 'early-stopping' | 'top-p' | 'top-k' | 'min-p' | 'typical-p'
    | 'temperature' | 'repetition-penalty' | 'no-repeat-ngram-size' | 'stop' | 'seed']: StringArgDef;
} = {
  beams: text('Hypotheses kept; 1 is greedy.', 'N'),
  n: text('Texts of each photograph, best first.', 'N'),
  'max-new-tokens': text('Most tokens of a text.', 'N'),
  'min-new-tokens': text('Tokens before a text may end.', 'N'),
  'max-length': text('Most tokens altogether: queries, prompt and text.', 'N'),
  'min-length': text('Fewest tokens altogether.', 'N'),
  'length-penalty': text("Exponent of the length that a beam's score is divided by.", 'X'),
  'early-stopping': text('When beams end: true (enough texts), false (none better at this length), never.', 'WORD'),
  'top-p': text('Draw from the likeliest tokens that share this probability (nucleus sampling).', 'X'),
  'top-k': text('Draw from the k likeliest tokens.', 'N'),
  'min-p': text('Draw from tokens at least so likely, relative to the likeliest.', 'X'),
  'typical-p': text('Draw from typical tokens that share this probability.', 'X'),
  temperature: text('Draw, with the scores divided by this.', 'X'),
  'repetition-penalty': text('Divides the scores of tokens already there.', 'X'),
  'no-repeat-ngram-size': text('No run of so many tokens twice.', 'N'),
  stop: text('End a text where this appears; \\n is a line break.', 'TEXT'),
  seed: text('Makes draws repeatable.', 'N'),
} satisfies ArgsDef;

type Given = { readonly [Name in keyof typeof GENERATE_ARGS]?: string | undefined };

/** @throws QuerentError QRT_USAGE for what is no number, or none of the words. */
export function generateOptions(given: Given): Omit<GenerateOptions, 'prompt' | 'signal'> {
  const draws = {
    topP: finiteNumber('top-p', given['top-p']),
    topK: wholeNumber('top-k', given['top-k']),
    minP: finiteNumber('min-p', given['min-p']),
    typicalP: finiteNumber('typical-p', given['typical-p']),
    temperature: finiteNumber('temperature', given.temperature),
  };
  const options = {
    ...draws,
    numBeams: wholeNumber('beams', given.beams),
    numReturnSequences: wholeNumber('n', given.n),
    maxNewTokens: wholeNumber('max-new-tokens', given['max-new-tokens']),
    minNewTokens: wholeNumber('min-new-tokens', given['min-new-tokens'], 0),
    lengthPenalty: finiteNumber('length-penalty', given['length-penalty']),
    maxLength: wholeNumber('max-length', given['max-length']),
    minLength: wholeNumber('min-length', given['min-length'], 0),
    earlyStopping: earlyStopping(given['early-stopping']),
    noRepeatNgramSize: wholeNumber('no-repeat-ngram-size', given['no-repeat-ngram-size'], 0),
    stop: given.stop === undefined ? undefined : [given.stop.replaceAll('\\n', '\n')],
    repetitionPenalty: finiteNumber('repetition-penalty', given['repetition-penalty']),
    seed: wholeNumber('seed', given.seed, 0),
    doSample: Object.values(draws).some((value) => value !== undefined) ? true : undefined,
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

const WORDS: ReadonlyMap<string, boolean | 'never'> = new Map<string, boolean | 'never'>([['true', true], ['false', false], ['never', 'never']]);

function earlyStopping(word: string | undefined): boolean | 'never' | undefined {
  if (word === undefined) return undefined;
  const value = WORDS.get(word);
  if (value === undefined) throw new QuerentError('QRT_USAGE', `--early-stopping is ${JSON.stringify(word)}; true, false or never was expected.`);
  return value;
}
