/**
 * Trains a byte-level BPE (Sennrich 2016 over GPT-2's byte alphabet) and gives it as HuggingFace's `tokenizer.json`,
 * which Python's `tokenizers` loads with the same ids. Deterministic: the most frequent pair wins, ties go to the pair
 * with the smaller ids, as in HF's `BpeTrainer`. The merging itself is in `bpe-merges.ts`.
 */
import { QuerentError } from '@querent/core';
import { learnMerges } from './bpe-merges.ts';
import { stripSpace } from './tokenizer-normalizers.ts';
import { CHARACTER_OF_BYTE, WORD_PATTERN, toByteCharacters } from './byte-level.ts';
import type { DecoderJson, NormalizerJson, TemplatePieceJson, TemplateProcessingJson, TokenizerJson } from './tokenizer-json.ts';

export interface TrainBpeOptions {
  /** Tokens in all: special ones, 256 bytes, merges. Fewer come out when the texts hold no more frequent pairs. */
  readonly vocabSize: number;
  /** They get the ids 0, 1, … in this order. */
  readonly specialTokens: readonly string[];
  readonly lowercase?: boolean;
  /** Drop everything else: a run of other characters becomes one space. Default: keep all. */
  readonly keep?: 'letters-digits-apostrophe';
  /** Pairs seen less often are not merged. Default 2. */
  readonly minFrequency?: number;
  /**
   * The first word is tokenised like a word after a space; a leading space of the text is dropped, and so is the one
   * that decoding would give. Default true.
   */
  readonly addPrefixSpace?: boolean;
  /** Special tokens around a text, for instance `[CLS] $A [SEP]`. Default: none. */
  readonly template?: string;
}

const BYTES = 256;

/**
 * Learns the merges of `texts`; 365,000 captions take some seconds. Memory is that of the distinct words.
 * @throws QuerentError QRT_USAGE when the vocabulary is too small, a special token is given twice or a template is unreadable.
 * @example
 * const json = trainByteLevelBpe(captions, { vocabSize: 4096, specialTokens: ['<pad>', '<s>', '</s>'], lowercase: true });
 * await writeFileAtomic('tokenizer.json', JSON.stringify(json));
 */
export function trainByteLevelBpe(texts: Iterable<string>, options: TrainBpeOptions): TokenizerJson {
  const { vocabSize, specialTokens, minFrequency = 2, addPrefixSpace = true } = options;
  if (new Set(specialTokens).size !== specialTokens.length) {
    throw new QuerentError('QRT_USAGE', `specialTokens has one twice: ${specialTokens.join(' ')}.`, { fix: 'Name each once.' });
  }
  const merges = vocabSize - BYTES - specialTokens.length;
  if (!Number.isSafeInteger(vocabSize) || merges < 0) {
    throw new QuerentError('QRT_USAGE', `vocabSize ${vocabSize} is too small: 256 bytes and ${specialTokens.length} special tokens come first.`, {
      fix: `Give at least ${BYTES + specialTokens.length}.`,
    });
  }

  // HF sorts the alphabet by character; ids of special tokens come before it.
  const alphabet = [...CHARACTER_OF_BYTE].sort();
  const learnt = learnMerges(wordCounts(texts, options), alphabet, { merges, minFrequency });
  const tokens = [...specialTokens, ...alphabet, ...learnt.tokens];
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const byteLevel = { type: 'ByteLevel', add_prefix_space: addPrefixSpace, trim_offsets: true, use_regex: true } as const;
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: normalizerOf(options),
    pre_tokenizer: byteLevel,
    post_processor: options.template === undefined ? null : templateOf(options.template, vocab),
    decoder: decoderOf(byteLevel, addPrefixSpace),
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: learnt.merges.map(([left, right]) => `${left} ${right}`),
    },
  };
}

/** What the tokenizer makes of a text before it splits it: for non-special text, `decode(encode(text))` equals this. */
export function normalizeText(text: string, options: Pick<TrainBpeOptions, 'lowercase' | 'keep' | 'addPrefixSpace'>): string {
  let out = options.lowercase === true ? text.toLowerCase() : text;
  if (options.keep !== undefined) out = stripSpace(out.replace(TYPOGRAPHIC, "'").replace(OTHER, ' '), true, true);
  return options.addPrefixSpace === false ? out : stripSpace(out, true, false);
}

/** The curly apostrophe, U+2019. */
const TYPOGRAPHIC = /\u2019/g;
/** Runs of what is neither a letter (with its marks), nor a digit, nor an apostrophe. */
const OTHER_SOURCE = "[^\\p{L}\\p{M}\\p{N}']+";
const OTHER = new RegExp(OTHER_SOURCE, 'gu');

/** {@link normalizeText} in the file's words. */
function normalizerOf(options: TrainBpeOptions): NormalizerJson | null {
  const normalizers: NormalizerJson[] = [];
  if (options.lowercase === true) normalizers.push({ type: 'Lowercase' });
  if (options.keep !== undefined) {
    normalizers.push({ type: 'Replace', pattern: { String: '\u2019' }, content: "'" });
    normalizers.push({ type: 'Replace', pattern: { Regex: OTHER_SOURCE }, content: ' ' });
    normalizers.push({ type: 'Strip', strip_left: true, strip_right: true });
  } else if (options.addPrefixSpace !== false) {
    normalizers.push({ type: 'Strip', strip_left: true, strip_right: false });
  }
  const [only] = normalizers;
  if (only === undefined) return null;
  return normalizers.length === 1 ? only : { type: 'Sequence', normalizers };
}

function decoderOf(byteLevel: DecoderJson, addPrefixSpace: boolean): DecoderJson {
  if (!addPrefixSpace) return byteLevel;
  return { type: 'Sequence', decoders: [byteLevel, { type: 'Strip', content: ' ', start: 1, stop: 0 }] };
}

/** Distinct words, in the byte alphabet, with their counts. */
function wordCounts(texts: Iterable<string>, options: TrainBpeOptions): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) {
    const normal = normalizeText(text, options);
    const spaced = options.addPrefixSpace === false || normal === '' || normal.startsWith(' ') ? normal : ` ${normal}`;
    for (const word of spaced.match(WORD_PATTERN) ?? []) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return new Map([...counts].map(([word, count]) => [toByteCharacters(word), count]));
}

/** `[CLS] $A [SEP]` → TemplateProcessing; a pair is the two texts, each in its frame. */
function templateOf(template: string, vocab: Readonly<Record<string, number>>): TemplateProcessingJson {
  const words = template.trim().split(/\s+/);
  if (words.filter((word) => word === '$A').length !== 1) {
    throw new QuerentError('QRT_USAGE', `The template "${template}" must hold $A once.`, { fix: 'Write it like "[CLS] $A [SEP]".' });
  }
  const special_tokens: Record<string, { id: string; ids: number[]; tokens: string[] }> = {};
  const pieces = (text: 'A' | 'B', type_id: number): TemplatePieceJson[] =>
    words.map((word) => (word === '$A' ? { Sequence: { id: text, type_id } } : { SpecialToken: { id: word, type_id } }));
  for (const word of words) {
    const id = vocab[word];
    if (word === '$A') continue;
    if (id === undefined) {
      throw new QuerentError('QRT_USAGE', `The template names ${word}, which is no token.`, { fix: 'Add it to specialTokens.' });
    }
    special_tokens[word] = { id: word, ids: [id], tokens: [word] };
  }
  return { type: 'TemplateProcessing', single: pieces('A', 0), pair: [...pieces('A', 0), ...pieces('B', 1)], special_tokens };
}
