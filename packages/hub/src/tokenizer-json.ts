/**
 * The parts of HuggingFace's `tokenizer.json` that this package reads or writes; names are the file's. What it holds
 * beyond them is handed to `@huggingface/tokenizers` unread.
 */

export interface AddedTokenJson {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

export type PatternJson = { readonly String: string } | { readonly Regex: string };

export type NormalizerJson =
  | { readonly type: 'Lowercase' }
  | { readonly type: 'NFC' }
  | { readonly type: 'Strip'; readonly strip_left: boolean; readonly strip_right: boolean }
  | { readonly type: 'Replace'; readonly pattern: PatternJson; readonly content: string }
  | { readonly type: 'Sequence'; readonly normalizers: readonly NormalizerJson[] };

export type TemplatePieceJson =
  | { readonly SpecialToken: { readonly id: string; readonly type_id: number } }
  | { readonly Sequence: { readonly id: 'A' | 'B'; readonly type_id: number } };

export interface TemplateProcessingJson {
  readonly type: 'TemplateProcessing';
  readonly single: readonly TemplatePieceJson[];
  readonly pair: readonly TemplatePieceJson[];
  readonly special_tokens: Readonly<
    Record<string, { readonly id: string; readonly ids: readonly number[]; readonly tokens: readonly string[] }>
  >;
}

interface ByteLevelJson {
  readonly type: 'ByteLevel';
  readonly add_prefix_space: boolean;
  readonly trim_offsets: boolean;
  readonly use_regex: boolean;
}

export type DecoderJson =
  | ByteLevelJson
  | { readonly type: 'Strip'; readonly content: string; readonly start: number; readonly stop: number }
  | { readonly type: 'Sequence'; readonly decoders: readonly DecoderJson[] };

/** A byte-level BPE `tokenizer.json`, as {@link trainByteLevelBpe} makes it. */
export interface TokenizerJson {
  readonly version: '1.0';
  readonly truncation: null;
  readonly padding: null;
  readonly added_tokens: readonly AddedTokenJson[];
  readonly normalizer: NormalizerJson | null;
  readonly pre_tokenizer: ByteLevelJson;
  readonly post_processor: TemplateProcessingJson | null;
  readonly decoder: DecoderJson;
  readonly model: {
    readonly type: 'BPE';
    readonly dropout: null;
    readonly unk_token: null;
    readonly continuing_subword_prefix: null;
    readonly end_of_word_suffix: null;
    readonly fuse_unk: boolean;
    readonly byte_fallback: boolean;
    readonly ignore_merges: boolean;
    readonly vocab: Readonly<Record<string, number>>;
    /** `left right`, in the order in which they were learnt. */
    readonly merges: readonly string[];
  };
}
