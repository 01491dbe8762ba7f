/**
 * What a dual encoder promises: an image tower and a text tower that meet in one space, learned by contrast (CLIP, SigLIP).
 * It ranks texts for an image and images for a text. Types only; `packages/encoders` has the built-ins.
 */
import type { PreprocessorConfig } from './encoder.ts';
import type { Scope, Tensor } from './graph.ts';

/** What every dual encoder's config has; the rest is its own, in HuggingFace's spelling. */
export interface DualEncoderConfig {
  /** HuggingFace's `model_type`: the name. */
  readonly model_type: string;
}

/** How texts become ids for a text tower. */
export interface DualEncoderTextRules {
  /** Longer texts are cut to this many ids, special ones included. */
  readonly maxTokens: number;
  /** Whether rows are filled up to the longest of them, or always to `maxTokens`; on the right. */
  readonly padding: 'longest' | 'max-length';
  readonly padTokenId: number;
  /** Whether the tower looks away from padding. Where not, {@link DualEncoderText.attentionMask} is left out. */
  readonly masksPadding: boolean;
}

/** Texts as ids. */
export interface DualEncoderText {
  /** int64 [texts, tokens], padded on the right. */
  readonly inputIds: Tensor;
  /** int64 [texts, tokens]: 1 for a token, 0 for padding. All ones when absent. */
  readonly attentionMask?: Tensor;
}

/** What a text tower gives. */
export interface DualEncoderTextOutput {
  /** float32 [texts, tokens, width] */
  readonly lastHiddenState: Tensor;
  /** Unit vectors float32 [texts, shared]. */
  readonly features: Tensor;
}

/** Both towers in a graph. Calling a function adds its nodes; parameters are shared between calls. */
export interface DualEncoder {
  /**
   * Unit vectors float32 [images, shared].
   *
   * @param pixelValues float32 [images, channels, height, width], prepared as {@link DualEncoderFamily.preprocess} says.
   * @throws QuerentError QRT_GRAPH_OP when height or width is not a number, or smaller than a patch.
   */
  imageFeatures(pixelValues: Tensor): Tensor;
  /** @throws QuerentError QRT_GRAPH_OP when the number of tokens is known and larger than the tower has positions for. */
  text(text: DualEncoderText): DualEncoderTextOutput;
  /**
   * How well each image and text go together: float32 [images, texts], scaled as the model learned it.
   *
   * @param imageFeatures what {@link imageFeatures} gave
   * @param textFeatures what {@link text} gave
   */
  logits(imageFeatures: Tensor, textFeatures: Tensor): Tensor;
}

/** One family of dual encoders. */
export interface DualEncoderFamily<Config extends DualEncoderConfig = DualEncoderConfig> {
  /** The `model_type` in `config.json` that asks for this family. */
  readonly name: string;
  /** JSON Schema of `config.json`; foreign keys are tolerated, as HuggingFace's files have them. */
  readonly configSchema: Readonly<Record<string, unknown>>;
  /** The config to build with: what `config.json` leaves out, also within a tower's part, has the family's own value. */
  complete(given: Readonly<Record<string, unknown>>): Config;
  /** How pixels are prepared for this config, unless a `preprocessor_config.json` says otherwise. */
  preprocess(config: Config): PreprocessorConfig;
  textRules(config: Config): DualEncoderTextRules;
  /** The width of the shared space. */
  width(config: Config): number;
  /** @param g the root scope: parameters are named as in the family's own checkpoint. */
  build(g: Scope, config: Config): DualEncoder;
}
