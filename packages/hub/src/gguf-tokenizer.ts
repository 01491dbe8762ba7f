/**
 * The tokenizer inside a GGUF file as a HuggingFace `tokenizer.json`. Byte-level BPE (`tokenizer.ggml.model` gpt2) is complete: tokens,
 * merges, and a splitting rule that the file only names. A SentencePiece vocabulary (`llama`) has scores in place of merges and is not
 * rebuilt: a `tokenizer.json` beside the file takes its place.
 */
import { QuerentError } from '@querent/core';
import { damagedGguf, type GgufValue } from './gguf.ts';
import type { JsonObject } from './json-file.ts';

const BYTE_LEVEL = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
const split = (regex: string): readonly object[] => [
  { type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false },
  { ...BYTE_LEVEL, use_regex: false },
];
/** HF `Qwen2TokenizerFast` and `meta-llama/Meta-Llama-3-8B`: the same but for how many digits stand together. */
const words = (digits: string): string =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const DIGITS_APART = [{ type: 'Digits', individual_digits: true }, BYTE_LEVEL];

/** `tokenizer.ggml.pre` → how a text is split before merging. */
const SPLITTERS: ReadonlyMap<string, readonly object[]> = new Map([
  ['gpt-2', [BYTE_LEVEL]],
  ['default', [BYTE_LEVEL]],
  ['smollm', DIGITS_APART],
  ['qwen2', split(words('\\p{N}'))],
  ['llama-bpe', split(words('\\p{N}{1,3}'))],
  ['llama3', split(words('\\p{N}{1,3}'))],
]);

const CONTROL = 3;
const USER_DEFINED = 4;

/** Documents as {@link createTokenizer} takes them. */
export interface GgufTokenizer {
  readonly json: JsonObject;
  readonly config: JsonObject;
}

/**
 * @param file named in errors
 * @throws QuerentError QRT_TOKENIZER for a tokenizer that is not byte-level BPE or whose splitting rule is not known,
 *   QRT_CHECKPOINT_FORMAT when the lists do not fit each other.
 */
export function ggufTokenizer(metadata: ReadonlyMap<string, GgufValue>, file: string): GgufTokenizer {
  const of = (key: string): GgufValue | undefined => metadata.get(`tokenizer.ggml.${key}`);
  const kind = of('model');
  if (kind !== 'gpt2') throw unread(file, kind === undefined ? 'it holds none' : `its kind is ${JSON.stringify(String(kind).slice(0, 40))} and only byte-level BPE ("gpt2") is rebuilt`);
  const rule = of('pre') ?? 'default';
  const splitter = typeof rule === 'string' ? SPLITTERS.get(rule) : undefined;
  if (splitter === undefined) throw unread(file, `it splits texts by the rule ${JSON.stringify(String(rule).slice(0, 40))}; ${[...SPLITTERS.keys()].join(', ')} are known`);
  const tokens = textsOf(of('tokens'), file, 'tokens');
  const merges = textsOf(of('merges'), file, 'merges');
  const types = of('token_type');
  const typeOf = (id: number): number => (types instanceof Int32Array || types instanceof Uint32Array ? (types[id] ?? 1) : 1);
  const added = tokens.flatMap((content, id) =>
    content !== '' && (typeOf(id) === CONTROL || typeOf(id) === USER_DEFINED)
      ? [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: typeOf(id) === CONTROL }]
      : [],
  );
  const tokenAt = (role: string): string | undefined => {
    const id = of(`${role}_token_id`);
    return typeof id === 'number' ? tokens[id] : undefined;
  };
  const bos = of('add_bos_token') === true ? tokenAt('bos') : undefined;
  const eos = of('add_eos_token') === true ? tokenAt('eos') : undefined;
  const config = { bos_token: tokenAt('bos'), eos_token: tokenAt('eos'), pad_token: tokenAt('padding'), unk_token: tokenAt('unknown'), chat_template: metadata.get('tokenizer.chat_template') };
  return {
    json: {
      version: '1.0',
      added_tokens: added,
      normalizer: null,
      pre_tokenizer: { type: 'Sequence', pretokenizers: splitter },
      post_processor: bos === undefined && eos === undefined ? null : frame(bos, eos, tokens),
      decoder: BYTE_LEVEL,
      model: { type: 'BPE', dropout: null, unk_token: null, fuse_unk: false, byte_fallback: false, ignore_merges: false, vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges },
    },
    config: Object.fromEntries(Object.entries(config).filter(([, value]) => typeof value === 'string')),
  };
}

function frame(bos: string | undefined, eos: string | undefined, tokens: readonly string[]): object {
  const special = (token: string | undefined): readonly object[] => (token === undefined ? [] : [{ SpecialToken: { id: token, type_id: 0 } }]);
  const single = [...special(bos), { Sequence: { id: 'A', type_id: 0 } }, ...special(eos)];
  const used = [bos, eos].filter((token) => token !== undefined);
  return {
    type: 'TemplateProcessing',
    single,
    pair: [...single, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: Object.fromEntries(used.map((token) => [token, { id: token, ids: [tokens.indexOf(token)], tokens: [token] }])),
  };
}

function textsOf(value: GgufValue | undefined, file: string, what: string): readonly string[] {
  if (Array.isArray(value) && value.every((text) => typeof text === 'string')) return value;
  throw damagedGguf(file, `tokenizer.ggml.${what} is not a list of texts`);
}

function unread(file: string, what: string): QuerentError {
  return new QuerentError('QRT_TOKENIZER', `The tokenizer inside ${file} cannot be used: ${what}.`, {
    fix: 'Put the tokenizer.json of the original model beside the file: it is taken first.',
    details: { file },
  });
}
