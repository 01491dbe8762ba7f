/**
 * What every language model promises: graphs over soft prompts and text. Types only; `@querent/llm-adapters` has the built-ins.
 * A caller never asks which family it holds: a decoder-only model reads [soft prompt ; prompt ; labels] as one sequence, an
 * encoder-decoder one reads [soft prompt ; prompt] in its encoder and writes the labels with its decoder. Inputs have the same names.
 */
import type { Scope, Tensor } from './graph.ts';
import type { JsonSchema, PluginBase } from './plugin.ts';

/** What the model is given to read. At least one of `softPrompt` and `promptIds` is there. */
export interface LanguageModelPrompt {
  /** float32 [batch, queries, hidden]: embeddings in front of the text. */
  readonly softPrompt?: Tensor;
  /** int64 [batch, prompt], padded on the side that `promptPadding` names. */
  readonly promptIds?: Tensor;
  /** int64 [batch, prompt]: 1 = read, 0 = padding. All ones when absent. */
  readonly promptMask?: Tensor;
}

export interface LanguageModelTargets extends LanguageModelPrompt {
  /** int64 [batch, labels]: what the model should say, end token included, padded on the right with -100. */
  readonly labels: Tensor;
}

export interface LanguageModelLossOptions {
  /** Share of the target spread evenly over the vocabulary. Default 0. */
  readonly labelSmoothing?: number;
}

export interface LanguageModelLoss {
  /** Mean cross-entropy over the labels that count: a scalar. */
  readonly loss: Tensor;
  /** [batch, labels]: log-probability of each label, 0 at -100. For weighted losses and for ranking candidates. */
  readonly tokenLogProbs: Tensor;
  /** [batch, labels, vocabulary]: what the model thinks before it sees each label. */
  readonly logits: Tensor;
}

/**
 * One tensor of the model's memory. `self` grows with each token; `cross` is written by the prefill and only read
 * afterwards (an encoder's keys and values).
 */
export interface CacheSpec {
  /** `0.key`, `0.decoder.key`, `0.encoder.value`, …: follows `past_key_values.` as an input and `present.` as an output. */
  readonly name: string;
  readonly kind: 'self' | 'cross';
  readonly heads: number;
  readonly headWidth: number;
}

export interface PrefillResult {
  /** [batch, vocabulary] after the last prompt position that the decoder has read; null where decoding begins with a start token. */
  readonly logits: Tensor | null;
  /**
   * By {@link CacheSpec} name: [batch, heads, queries + prompt, headWidth]; of the prompt alone where queries are what a decoder looks at.
   * No `self` caches where decoding begins with a start token.
   */
  readonly present: ReadonlyMap<string, Tensor>;
}

/** One new token a row; `cache` slots are allocated, of which those with mask 1 hold something. */
export interface DecodeInputs {
  /** int64 [batch, 1] */
  readonly inputIds: Tensor;
  /** int64 [batch, 1]: how many real tokens stand before this one. */
  readonly positionIds: Tensor;
  /** int64 [batch, cache]: the new token's own slot is 1 already. */
  readonly attentionMask: Tensor;
  /** int64 [batch]: the slot that the new token's keys and values are written to. */
  readonly writeIndices: Tensor;
  /** By {@link CacheSpec} name: [batch, heads, cache, headWidth] (`self`) or [batch, heads, source, headWidth] (`cross`). */
  readonly past: ReadonlyMap<string, Tensor>;
  /** int64 [batch, source]: which encoder positions are real. Encoder-decoders only. */
  readonly encoderMask?: Tensor;
}

/** Any number of new tokens a row, after what the caches hold. */
export interface ExtendInputs extends Omit<DecodeInputs, 'encoderMask'> {
  /** float32 [batch, queries, hidden]: embeddings in front of the tokens; may have no queries in a run. */
  readonly softPrompt?: Tensor;
  /** int64 [batch, tokens]; may have no tokens in a run that has queries. */
  readonly inputIds: Tensor;
  /** int64 [batch, queries + tokens]: how many real tokens stand before each; -1 at padding. */
  readonly positionIds: Tensor;
  /** int64 [batch, cache]: the new tokens' own slots have their mask already. */
  readonly attentionMask: Tensor;
  /** int64 [batch]: the slot of the first of them; the others follow. */
  readonly writeIndices: Tensor;
}

export interface DecodeResult {
  /** [batch, vocabulary] */
  readonly logits: Tensor;
  /** The `self` caches with the new token written, in the shape of their past: may lie in the same memory. */
  readonly present: ReadonlyMap<string, Tensor>;
}

/** Ids that generation needs; undefined where the config names none. */
export interface SpecialTokens {
  readonly bos: number | undefined;
  /** Any of them ends a text. */
  readonly eos: readonly number[];
  readonly pad: number | undefined;
  /** What an encoder-decoder's decoder is started with. */
  readonly decoderStart: number | undefined;
}

/**
 * A family of language models. Each function is given a scope that stands where the checkpoint's own root is
 * (`language_model` in a BLIP-2 folder), so parameter names are the checkpoint's.
 */
export interface LanguageModelPlugin<Config = unknown> extends PluginBase<'language-model'> {
  /** HuggingFace `model_type`. */
  readonly name: string;
  readonly architecture: 'decoder-only' | 'encoder-decoder';
  /** JSON Schema of the config; foreign keys are allowed. */
  readonly configSchema: JsonSchema;
  /**
   * What HuggingFace's class assumes where a file is silent: a part's config within a whole model's leaves out what equals it. The config
   * to check and to build with is `{ ...defaults, ...given }`.
   */
  readonly defaults?: Readonly<Record<string, unknown>>;
  /**
   * The config as these weights want it, where a file's config leaves it open: T5 without a head of its own says that it is untied and
   * means that its tied head is not scaled.
   *
   * @param has is there a tensor of this name, under the model's own root?
   */
  fit?(config: Config, has: (parameterName: string) => boolean): Config;
  /** On which side prompts of unequal length are padded. */
  readonly promptPadding: 'left' | 'right';
  /** Width of an embedding: what a bridge must project to. */
  width(config: Config): number;
  /** How many token ids there are. */
  vocabulary(config: Config): number;
  specialTokens(config: Config): SpecialTokens;
  /**
   * A prompt's ids as this model reads them, where that is not as its tokenizer frames a text: BLIP has [DEC] in [CLS]'s place, and
   * goes on where [SEP] would end.
   */
  framePrompt?(ids: readonly number[], config: Config): readonly number[];
  /** Token embeddings [batch, tokens, hidden] as they stand beside a soft prompt. */
  embed(g: Scope, inputIds: Tensor, config: Config): Tensor;
  /** Differentiable with respect to the soft prompt and every parameter. */
  loss(g: Scope, inputs: LanguageModelTargets, config: Config, options?: LanguageModelLossOptions): LanguageModelLoss;
  caches(config: Config): readonly CacheSpec[];
  prefill(g: Scope, inputs: LanguageModelPrompt, config: Config): PrefillResult;
  decode(g: Scope, inputs: DecodeInputs, config: Config): DecodeResult;
  /**
   * `prefill` and `decode` as one: an engine then holds the weights once for both, where it rearranges them for itself. Optional: without
   * it there are two graphs. An encoder-decoder's two share next to nothing and need no such function.
   */
  extend?(g: Scope, inputs: ExtendInputs, config: Config): DecodeResult;
}
