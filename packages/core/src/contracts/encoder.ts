/**
 * What an image encoder promises: from its config, how pixels are prepared and the graph that turns them into features.
 * Types only. Encoders that come with Querent are in `packages/encoders`; a bridge (`bridge.ts`) reads the features.
 */
import type { ParameterSet } from '../tensor.ts';
import type { Scope, Tensor } from './graph.ts';
import type { PluginBase } from './plugin.ts';

/** What every encoder's config has; the rest is the encoder's own, in HuggingFace's spelling. */
export interface EncoderConfig {
  /** HuggingFace's `model_type`: the plugin's name. */
  readonly model_type: string;
}

/**
 * How pixels are prepared, as HuggingFace's `preprocessor_config.json` has it. The result is float32
 * [batch, 3, height, width], RGB: resized, cropped, times `rescale_factor`, minus `image_mean`, over `image_std`.
 */
export interface PreprocessorConfig {
  readonly do_resize: boolean;
  readonly size: { readonly height: number; readonly width: number } | { readonly shortest_edge: number };
  /** Pillow's number of the filter: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic. */
  readonly resample: number;
  readonly do_center_crop: boolean;
  readonly crop_size?: { readonly height: number; readonly width: number };
  readonly do_rescale: boolean;
  readonly rescale_factor: number;
  readonly do_normalize: boolean;
  readonly image_mean: readonly number[];
  readonly image_std: readonly number[];
  readonly do_convert_rgb: boolean;
}

export interface EncoderBuildOptions {
  /** Also return what enters the first block and what leaves each block. Default false. */
  readonly hiddenStates?: boolean;
  /** Also return {@link EncoderOutput.pooled}: declares the pooler's parameters where it has any. Default false. */
  readonly pooled?: boolean;
}

export interface EncoderOutput {
  /** float32 [batch, patches, width]: what a bridge attends to. */
  readonly lastHiddenState: Tensor;
  /** float32 [batch, width]: one vector per image, only when it was asked for. */
  readonly pooled?: Tensor;
  /** Each float32 [batch, patches, width], only when they were asked for and the encoder has them. */
  readonly hiddenStates?: readonly Tensor[];
}

/** An encoder whose own files have been read. */
export interface OpenedEncoder<Config extends EncoderConfig = EncoderConfig> {
  /** What to go on with in the plugin's place; for the config that it was opened with. */
  readonly encoder: EncoderPlugin<Config>;
  /** Its weights, named from the scope that {@link EncoderPlugin.build} is given. They come before a checkpoint's. */
  readonly parameters: ParameterSet;
}

/** One family of image encoders. */
export interface EncoderPlugin<Config extends EncoderConfig = EncoderConfig> extends PluginBase<'encoder'> {
  readonly kind: 'encoder';
  /** The `model_type` in `config.json` that asks for this plugin. */
  readonly name: string;
  /** The version of this contract. */
  readonly contract: 1;
  /** JSON Schema of the config; foreign keys are tolerated, as HuggingFace's files have them. */
  readonly configSchema: Readonly<Record<string, unknown>>;
  /** What a config leaves out has these values: the config to build with is `{ ...defaults, ...given }`. */
  readonly defaults: Config;
  /**
   * For an encoder that keeps more than weights in files beside the config, such as its graph: reads them. Who loads a model calls
   * it once, before {@link patches} and {@link build}. Encoders that are built from their config alone leave it out.
   *
   * @param folder of the document that holds the config: paths in it are relative to it.
   * @throws QuerentError QRT_FILE, QRT_CONFIG_INVALID, or what the files' kind throws when they are damaged or not supported.
   */
  open?(config: Config, folder: string): Promise<OpenedEncoder<Config>>;
  /** How pixels are prepared for this config, unless a `preprocessor_config.json` says otherwise. */
  preprocess(config: Config): PreprocessorConfig;
  /** The width of the features. */
  width(config: Config): number;
  /** How many vectors `lastHiddenState` has for an image of the config's own size. */
  patches(config: Config): number;
  /**
   * Adds the encoder to `g`'s graph. Its parameters are named from `g` on: give `root.scope('vision_model')` for a whole
   * model's checkpoint, the root itself for an encoder's own.
   *
   * @param pixelValues float32 [batch, channels, height, width], prepared as {@link preprocess} says.
   * @throws QuerentError QRT_GRAPH_OP when the pixels do not have the size that the config asks for.
   */
  build(g: Scope, pixelValues: Tensor, config: Config, options?: EncoderBuildOptions): EncoderOutput;
  /** How many layers {@link layerOf} counts: the embeddings, each block, and what follows the last block. */
  layers(config: Config): number;
  /**
   * The layer of a parameter, for layer-wise learning-rate decay: 0 for the embeddings, `layers(config) - 1` for what
   * follows the last block. The rate is scaled by `decay ** (layers(config) - 1 - layer)`.
   *
   * @param parameterName relative to the scope that {@link build} was given.
   */
  layerOf(parameterName: string, config: Config): number;
}
