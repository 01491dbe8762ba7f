/**
 * What a bridge promises: from an image's features (and a text) to a few vectors that a language model can read, and,
 * where it has them, the three functions that stage 1 of BLIP-2 trains it with. Types only. The Q-Former is in
 * `packages/qformer`; the losses over these functions are in `packages/training`.
 */
import type { ParameterSet } from '../tensor.ts';
import type { Scope, Tensor } from './graph.ts';
import type { PluginBase } from './plugin.ts';

/** What every bridge's config has; the rest is the bridge's own, in HuggingFace's spelling. */
export interface BridgeConfig {
  /** HuggingFace's `model_type`: the plugin's name. */
  readonly model_type: string;
}

/** Token ids and which of them are there. */
export interface BridgeText {
  /** int64 [batch, tokens] */
  readonly inputIds: Tensor;
  /** int64 [batch, tokens]: 1 for a token, 0 for padding. */
  readonly attentionMask: Tensor;
}

/** Keys and values of one layer's self-attention, each float32 [batch, heads, tokens, headWidth]. */
export interface KeyValues {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** An image as the bridge has read it. */
export interface BridgeEncoding {
  /** float32 [batch, queries, width]: the soft prompt before its projection. */
  readonly queries: Tensor;
  /** What later text may attend to, a layer each; empty when the bridge has no such cache or was given a text. */
  readonly pastKeyValues: readonly KeyValues[];
  /** Per layer float32 [batch, heads, queries, patches]: where the queries looked; null where a layer does not look. */
  readonly crossAttentions: readonly (Tensor | null)[];
}

/** Image and text in one space, for image–text contrast (ITC) and retrieval. */
export interface BridgeContrast {
  /** Unit vectors float32 [batch, queries, shared] of `encode(features).queries`. */
  imageFeatures(queries: Tensor): Tensor;
  /** Unit vectors float32 [batch, shared]; the text does not see the image. `inputIds` begin with [CLS]. */
  textFeatures(text: BridgeText): Tensor;
  /**
   * The largest cosine over the queries: float32 [images, texts], not yet divided by the temperature.
   *
   * @param imageFeatures float32 [images, queries, shared]
   * @param textFeatures float32 [texts, shared]
   */
  similarity(imageFeatures: Tensor, textFeatures: Tensor): Tensor;
  /** The learned temperature, a float32 scalar parameter that divides the similarity. */
  temperature(): Tensor;
}

export interface MatchOptions {
  /**
   * int64 [rows]: which image each text is matched with, when that is not row by row. What depends on the image alone is
   * then computed once per image and picked, not computed again.
   */
  readonly images?: Tensor;
  /** int64 [rows]: which text each row is of, likewise. Default: as many rows as texts, in their order. */
  readonly texts?: Tensor;
}

/** A bridge in a graph. Calling a function adds its nodes; parameters are shared between calls. */
export interface Bridge {
  /**
   * Reads images; with a text, the queries and the text see each other (multimodal features).
   *
   * @param features float32 [batch, patches, encoder width]: an encoder's `lastHiddenState`.
   */
  encode(features: Tensor, text?: BridgeText): BridgeEncoding;
  /** ITC, where the bridge has it. */
  readonly contrast?: BridgeContrast;
  /**
   * ITM, where the bridge has it: logits float32 [rows, 2]; index 1 means that image and text belong together.
   * `inputIds` begin with [CLS].
   */
  match?(features: Tensor, text: BridgeText, options?: MatchOptions): Tensor;
  /**
   * ITG, where the bridge has it: logits float32 [batch, tokens, vocab]; row `i` predicts token `i + 1` from the image
   * and tokens 0 … `i`. `inputIds` begin with [DEC] in [CLS]'s place. Nothing of the image is computed again.
   *
   * @param image what {@link encode} gave for the features alone.
   */
  generateText?(image: BridgeEncoding, text: BridgeText): Tensor;
  /**
   * BERT's masked language modelling over the text alone, where the bridge can be prepared that way: logits float32
   * [batch, tokens, vocab]; row `i` predicts token `i` from all tokens that stand there.
   */
  maskedText?(text: BridgeText): Tensor;
}

export interface BridgeBuildOptions {
  /** Zeroes a share of a tensor while training; applied after the embeddings and before each residual sum, as BERT does. */
  readonly dropout?: (x: Tensor) => Tensor;
}

/** How a fresh bridge begins from a text encoder that has been trained: the paper's Q-Former begins as BERT. */
export interface BridgeStart<Config extends BridgeConfig = BridgeConfig> {
  /** HuggingFace's `model_type` of the text encoder. */
  readonly modelType: string;
  /** What the bridge's config takes from the text encoder's, so that the weights fit. */
  config(encoderConfig: Readonly<Record<string, unknown>>): Partial<Config>;
  /**
   * The bridge's parameters that the encoder's give, float32, under the bridge's names. What is not among them is drawn as usual.
   *
   * @param encoder the whole checkpoint, loaded, float32
   * @param normal draws from the standard normal distribution: for tokens that the encoder has no row for
   * @throws QuerentError QRT_CHECKPOINT_MISMATCH with everything that does not fit, at once.
   */
  weights(encoder: ParameterSet, encoderConfig: Readonly<Record<string, unknown>>, config: Config, normal: () => number): ParameterSet;
}

/** One family of bridges. */
export interface BridgePlugin<Config extends BridgeConfig = BridgeConfig> extends PluginBase<'bridge'> {
  readonly kind: 'bridge';
  /** The `model_type` of `qformer_config` that asks for this plugin. */
  readonly name: string;
  /** The version of this contract. */
  readonly contract: 1;
  /** JSON Schema of the config; foreign keys are tolerated, as HuggingFace's files have them. */
  readonly configSchema: Readonly<Record<string, unknown>>;
  /** What a config leaves out has these values. */
  readonly defaults: Config;
  /**
   * Keys of the config that HuggingFace keeps at the top of `config.json` instead. The config to build with is
   * `{ ...defaults, ...(these keys of config.json), ...qformer_config }`.
   */
  readonly topLevelKeys: readonly string[];
  /** Does a linear layer stand between it and the language model (HF `language_projection`)? Default true. */
  readonly isProjected?: boolean;
  /** The width of the queries that {@link Bridge.encode} gives. */
  width(config: Config): number;
  /** How many queries it gives. */
  queries(config: Config): number;
  /**
   * The bridge as functions over `g`'s graph; adds nothing until one is called.
   *
   * @param g the root scope: a bridge's parameters stand at the top of a checkpoint.
   */
  build(g: Scope, config: Config, options?: BridgeBuildOptions): Bridge;
  /** The parameter whose value a fresh one starts from, where that is another parameter: `…_query…` from the text's. */
  initialisedAs?(parameterName: string): string | undefined;
  /** How it begins from a trained text encoder, where it can. */
  readonly start?: BridgeStart<Config>;
}
