/** Special tokens: which roles they play (`tokenizer_config.json`), and which frame a text (the post-processor). */
import { QuerentError } from '@querent/core';
import { isJsonObject, type JsonObject } from './json-file.ts';

/** Token ids by role; a role that the tokenizer does not have is absent. `dec` is BLIP-2's `[DEC]`. */
export interface SpecialTokens {
  readonly bos?: number;
  readonly eos?: number;
  readonly pad?: number;
  readonly unk?: number;
  readonly cls?: number;
  readonly sep?: number;
  readonly mask?: number;
  readonly dec?: number;
}

/** Usual names, for a lone `tokenizer.json`, which does not say who is who. */
const USUAL: Readonly<Record<keyof SpecialTokens, readonly string[]>> = {
  bos: ['<s>', '<|begin_of_text|>', '<|endoftext|>'],
  eos: ['</s>', '<|end_of_text|>', '<|endoftext|>'],
  pad: ['<pad>', '[PAD]'],
  unk: ['<unk>', '[UNK]'],
  cls: ['[CLS]'],
  sep: ['[SEP]'],
  mask: ['[MASK]', '<mask>'],
  dec: ['[DEC]'],
};

/** The roles that `config` gives (`bos_token`: a string or `{ content }`); by usual names when there is no config. */
export function specialTokens(idOf: (token: string) => number | undefined, config: JsonObject | undefined): SpecialTokens {
  const find = (role: keyof SpecialTokens): number | undefined => {
    if (config === undefined || role === 'dec') return USUAL[role].map(idOf).find((id) => id !== undefined);
    const value = config[`${role}_token`];
    const token = isJsonObject(value) ? value['content'] : value;
    return typeof token === 'string' ? idOf(token) : undefined;
  };
  const found: { -readonly [Role in keyof SpecialTokens]: number } = {};
  for (const role of ROLES) {
    const id = find(role);
    if (id !== undefined) found[role] = id;
  }
  return found;
}

const ROLES: readonly (keyof SpecialTokens)[] = ['bos', 'eos', 'pad', 'unk', 'cls', 'sep', 'mask', 'dec'];

/** Ids before and after a text. */
export interface SpecialFrame {
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
}

/**
 * The frame that a `post_processor` puts around a single text.
 * @throws QuerentError QRT_TOKENIZER for a type that is not read or a template that is damaged.
 */
export function specialFrame(config: unknown, file: string): SpecialFrame {
  if (config === null || config === undefined) return { prefix: [], suffix: [] };
  const bad = (what: string): QuerentError =>
    new QuerentError('QRT_TOKENIZER', `${file}: its post_processor ${what}.`, {
      fix: 'Post-processors that are read: TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel, Sequence.',
      details: { file },
    });
  if (!isJsonObject(config)) throw bad('is not an object');
  switch (config['type']) {
    case 'ByteLevel':
      return { prefix: [], suffix: [] };
    case 'BertProcessing':
    case 'RobertaProcessing': {
      const id = (key: string): number => {
        const pair: readonly unknown[] = Array.isArray(config[key]) ? config[key] : [];
        if (!Number.isSafeInteger(pair[1])) throw bad(`has no [token, id] for ${key}`);
        return Number(pair[1]);
      };
      return { prefix: [id('cls')], suffix: [id('sep')] };
    }
    case 'TemplateProcessing':
      return templateFrame(config, bad);
    case 'Sequence': {
      const parts: readonly unknown[] = Array.isArray(config['processors']) ? config['processors'] : [];
      const frames = parts.map((part) => specialFrame(part, file));
      // A later one frames what the earlier ones made.
      return {
        prefix: frames.toReversed().flatMap((frame) => frame.prefix),
        suffix: frames.flatMap((frame) => frame.suffix),
      };
    }
    default:
      throw bad(`is of type ${JSON.stringify(config['type'])}, which is not read`);
  }
}

function templateFrame(config: JsonObject, bad: (what: string) => QuerentError): SpecialFrame {
  const { single, special_tokens: table } = config;
  if (!Array.isArray(single)) throw bad('has no template for a single text');
  const prefix: number[] = [];
  const suffix: number[] = [];
  let passed = false;
  for (const piece of single as readonly unknown[]) { // Array.isArray alone says any[]
    if (!isJsonObject(piece)) throw bad('has a template piece that is not an object');
    if (isJsonObject(piece['Sequence'])) passed = true;
    const special = piece['SpecialToken'];
    if (!isJsonObject(special)) continue;
    const entry = isJsonObject(table) ? table[String(special['id'])] : undefined;
    const ids: readonly unknown[] = isJsonObject(entry) && Array.isArray(entry['ids']) ? entry['ids'] : [];
    if (ids.length === 0 || !ids.every((id) => Number.isSafeInteger(id))) throw bad(`names ${String(special['id'])} without its ids`);
    (passed ? suffix : prefix).push(...ids.map(Number));
  }
  return { prefix, suffix };
}
