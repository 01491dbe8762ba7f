/**
 * What is used of `@huggingface/tokenizers` 0.2.0, with types of our own: its declarations leave out file extensions, so
 * under `nodenext` they do not resolve and everything in them would be `any`.
 */
import * as untyped from '@huggingface/tokenizers';

export interface LibraryNormalizer {
  normalize(text: string): string;
}

export interface LibraryTokenizer {
  normalizer: LibraryNormalizer | null;
  encode(text: string, options: { readonly add_special_tokens: boolean }): { readonly ids: number[] };
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  get_added_tokens_decoder(): ReadonlyMap<number, { readonly special?: boolean }>;
  get_vocab(): ReadonlyMap<string, number>;
}

interface LibraryModule {
  readonly Tokenizer: new (json: object, config: object) => LibraryTokenizer;
  readonly Normalizer: new (config: object) => LibraryNormalizer;
  readonly SequenceNormalizer: new (config: object) => LibraryNormalizer & { normalizers: readonly (LibraryNormalizer | null)[] };
}

// The cast states what the library's own (unresolvable) declarations say; the goldens' tests hold it to that.
const library = untyped as unknown as LibraryModule;

export const LibraryTokenizerClass: LibraryModule['Tokenizer'] = library.Tokenizer;
export const NormalizerClass: LibraryModule['Normalizer'] = library.Normalizer;
export const SequenceNormalizerClass: LibraryModule['SequenceNormalizer'] = library.SequenceNormalizer;
