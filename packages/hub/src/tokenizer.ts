/**
 * Text ⇄ ids from a HuggingFace `tokenizer.json`. Splitting and merging is `@huggingface/tokenizers` (pure JavaScript);
 * decoding (`tokenizer-decode.ts`) and two normalisers (`tokenizer-normalizers.ts`) are ours, so that both directions
 * equal Python's. Training a vocabulary: `tokenizer-train.ts`.
 */
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { QuerentError, isQuerentError, type TensorData } from '@querent/core';
import { errnoOf, fileError } from './file-error.ts';
import { readGguf } from './gguf.ts';
import { ggufTokenizer } from './gguf-tokenizer.ts';
import { isJsonObject, readJsonObject, readJsonObjectIfThere, type JsonObject } from './json-file.ts';
import { decoderOf } from './tokenizer-decode.ts';
import { encodeBatch } from './tokenizer-batch.ts';
import { endlessPattern } from './tokenizer-patterns.ts';
import { LibraryTokenizerClass, type LibraryTokenizer } from './tokenizer-library.ts';
import { withExactNormalizers } from './tokenizer-normalizers.ts';
import { specialFrame, specialTokens, type SpecialTokens } from './tokenizer-specials.ts';

export interface EncodeOptions {
  /** Put `[CLS] … [SEP]`, `<s> …` and the like around the text, as the file's post-processor says. Default true. */
  readonly addSpecialTokens?: boolean;
  /** Keep at most so many ids, special ones included; the text is cut, not the frame. */
  readonly maxLength?: number;
  /** Which end of a too long text is lost. Default `right`. */
  readonly truncate?: 'left' | 'right';
}

export interface EncodeBatchOptions extends EncodeOptions {
  /** Pad to at least so many ids; to the longest text when absent. */
  readonly padTo?: number;
  /** Where padding goes. Default: what the tokenizer's config says, else `right`. */
  readonly side?: 'left' | 'right';
}

/** Texts of one length: both int64 [batch, tokens]; the mask is 0 on padding. */
export interface EncodedBatch {
  readonly inputIds: TensorData<'int64'>;
  readonly attentionMask: TensorData<'int64'>;
}

export interface Tokenizer {
  encode(text: string, options?: EncodeOptions): number[];
  encodeBatch(texts: readonly string[], options?: EncodeBatchOptions): EncodedBatch;
  /** Ids without a token are skipped, as Python does. Special tokens are kept unless told otherwise. */
  decode(ids: Iterable<number | bigint>, options?: { readonly skipSpecialTokens?: boolean }): string;
  tokenToId(token: string): number | undefined;
  idToToken(id: number): string | undefined;
  /** One more than the largest id. */
  readonly vocabSize: number;
  /** Ids by role. */
  readonly specials: SpecialTokens;
  /** Ids that `skipSpecialTokens` skips. */
  readonly specialIds: ReadonlySet<number>;
  readonly paddingSide: 'left' | 'right';
}

/**
 * Loads `tokenizer.json`, and beside it `tokenizer_config.json` and `special_tokens_map.json` where present.
 * @param folderOrFile a model folder, the `tokenizer.json` itself, or a `.gguf` file with a tokenizer inside
 * @throws QuerentError QRT_FILE, QRT_CONFIG_UNREADABLE, or QRT_TOKENIZER when it is damaged or of a kind that is not read.
 * @example
 * const tokenizer = await loadTokenizer('models/querent-mini');
 * tokenizer.decode(tokenizer.encode('a brown dog'), { skipSpecialTokens: true }); // 'a brown dog'
 */
export async function loadTokenizer(folderOrFile: string): Promise<Tokenizer> {
  const file = (await isFolder(folderOrFile)) ? join(folderOrFile, 'tokenizer.json') : folderOrFile;
  if (/\.gguf$/i.test(file)) {
    const { json, config } = ggufTokenizer((await readGguf(file)).metadata, file);
    return createTokenizer(json, config, file);
  }
  const folder = dirname(file);
  const json = await readJsonObject(file);
  const map = await readJsonObjectIfThere(join(folder, 'special_tokens_map.json'));
  const config = await readJsonObjectIfThere(join(folder, 'tokenizer_config.json'));
  return createTokenizer(json, map === undefined && config === undefined ? undefined : { ...map, ...config }, file);
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw errnoOf(cause) === undefined ? cause : fileError('read', path, cause);
  }
}

/**
 * A tokenizer from the parsed documents: what {@link loadTokenizer} does once it has read them.
 * @param json `tokenizer.json`
 * @param config `tokenizer_config.json`; roles of special tokens are guessed from their usual names when absent
 * @param file named in errors
 * @throws QuerentError QRT_TOKENIZER
 */
export function createTokenizer(json: object, config?: JsonObject, file = 'tokenizer.json'): Tokenizer {
  const document: JsonObject = { ...json };
  assertKind(document, file);
  const endless = endlessPattern(document);
  if (endless !== undefined) throw broken(file, `its pattern ${JSON.stringify(endless.slice(0, 80))} could run without end`);
  const library = guarded(file, 'reading it', () => openLibrary(document, config));
  const decode = decoderOf(document['decoder'], file);
  const frame = specialFrame(document['post_processor'], file);
  const idOf = (token: string): number | undefined => library.token_to_id(token);
  const specials = specialTokens(idOf, config);
  const specialIds = new Set<number>();
  for (const [id, token] of library.get_added_tokens_decoder()) if (token.special === true) specialIds.add(id);
  let vocabSize = 0;
  for (const id of library.get_vocab().values()) vocabSize = Math.max(vocabSize, id + 1);

  const tokenizer: Tokenizer = {
    encode(text, { addSpecialTokens = true, maxLength = Infinity, truncate = 'right' } = {}) {
      const { ids } = guarded(file, `encoding ${JSON.stringify(text.slice(0, 40))}`, () => library.encode(text, { add_special_tokens: false }));
      const room = Math.max(0, maxLength - (addSpecialTokens ? frame.prefix.length + frame.suffix.length : 0));
      const kept = ids.length <= room ? ids : truncate === 'right' ? ids.slice(0, room) : ids.slice(ids.length - room);
      return addSpecialTokens ? [...frame.prefix, ...kept, ...frame.suffix] : kept;
    },
    encodeBatch: (texts, options = {}) => encodeBatch(tokenizer, texts, options),
    decode(ids, { skipSpecialTokens = false } = {}) {
      const tokens: string[] = [];
      for (const id of ids) {
        const token = library.id_to_token(Number(id));
        if (token !== undefined && !(skipSpecialTokens && specialIds.has(Number(id)))) tokens.push(token);
      }
      return tokens.length === 0 ? '' : decode(tokens).join('');
    },
    tokenToId: idOf,
    idToToken: (id) => library.id_to_token(id),
    vocabSize,
    specials,
    specialIds,
    paddingSide: config?.['padding_side'] === 'left' ? 'left' : 'right',
  };
  return tokenizer;
}

const KINDS: readonly unknown[] = ['BPE', 'WordPiece', 'Unigram'];

function assertKind(document: JsonObject, file: string): void {
  const model = document['model'];
  if (!isJsonObject(model) || !KINDS.includes(model['type'])) {
    const type = isJsonObject(model) ? JSON.stringify(model['type']) : 'none';
    throw broken(file, `its model type is ${type}; ${KINDS.join(', ')} are read`);
  }
  const { vocab, merges } = model;
  const isTable = model['type'] === 'Unigram' ? Array.isArray(vocab) : isJsonObject(vocab) && Object.values(vocab).every(isId);
  if (!isTable) throw broken(file, 'its vocab is not a table of tokens and ids');
  if (model['type'] === 'BPE' && !Array.isArray(merges)) throw broken(file, 'its merges are not a list');
  const added = document['added_tokens'] ?? [];
  if (!Array.isArray(added) || !added.every((token: unknown) => isJsonObject(token) && isId(token['id']) && typeof token['content'] === 'string')) {
    throw broken(file, 'its added_tokens are not a list of ids and contents');
  }
}

/** No vocabulary has more ids than this; a larger one would only waste memory. */
const ID_LIMIT = 1 << 24;

function isId(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) < ID_LIMIT;
}

function openLibrary(document: JsonObject, config: JsonObject | undefined): LibraryTokenizer {
  // Only the roles go in: the library's clean-up and lower-casing options belong to Python's slow tokenizers.
  const roles: [string, string][] = [];
  for (const role of ['bos_token', 'eos_token', 'unk_token', 'pad_token']) {
    const value = config?.[role];
    const token = isJsonObject(value) ? value['content'] : value;
    if (typeof token === 'string') roles.push([role, token]);
  }
  const complete = { added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, ...document };
  const library = new LibraryTokenizerClass(complete, Object.fromEntries(roles));
  library.normalizer = withExactNormalizers(library.normalizer, document['normalizer']);
  return library;
}

function guarded<T>(file: string, what: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    throw isQuerentError(cause) ? cause : broken(file, `${what} failed (${cause instanceof Error ? cause.message : String(cause)})`, cause);
  }
}

function broken(file: string, what: string, cause?: unknown): QuerentError {
  return new QuerentError('QRT_TOKENIZER', `${file} is not a tokenizer that is read: ${what}.`, {
    fix: 'Copy or download it again. A folder with only vocab.txt or spiece.model needs a tokenizer.json: Python\'s `AutoTokenizer` saves one.',
    details: { file },
    cause,
  });
}
