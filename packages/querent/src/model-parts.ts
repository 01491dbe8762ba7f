/**
 * The plugins that a config asks for, each with its config checked by the plugin's own schema: the file and the place of a mistake
 * are those that the person can mend. Nothing of a model is built yet; `model-graphs.ts` is next.
 */
import type { BridgeConfig, BridgePlugin, EncoderConfig, EncoderPlugin, LanguageModelPlugin, ParameterSet, PluginKind, PluginKinds, PluginRegistry, ValidateOptions } from '@querent/core';
import { QuerentError, isQuerentError, languageConfig, validate } from '@querent/core';
import { PART_PREFIXES, isJsonObject } from '@querent/hub';
import type { ImageProcessor, PreprocessorConfig } from '@querent/images';
import { createImageProcessor, preprocessorConfigSchema } from '@querent/images';
import type { ModelSource, PartKey } from './model-source.ts';
import { withDocumentPlugins } from './plugins.ts';

/** A plugin and the config that its schema has accepted. */
export interface Part<Plugin, Config> {
  readonly plugin: Plugin;
  readonly config: Config;
}

export interface ModelParts {
  readonly encoder: Part<EncoderPlugin, EncoderConfig>;
  /** Weights that the encoder keeps in files of its own, under the whole model's names. */
  readonly encoderParameters?: ParameterSet;
  readonly bridge: Part<BridgePlugin, BridgeConfig>;
  readonly languageModel?: Part<LanguageModelPlugin, unknown>;
  readonly processor: ImageProcessor;
}

/** HuggingFace's classes of models that retrieve: their `text_config` is there, and no language model. */
const RETRIEVAL: ReadonlySet<string> = new Set(['Blip2ForImageTextRetrieval', 'BlipForImageTextRetrieval']);

/** Is this a model of stage 1, by the class that its config names? */
export function isRetrieval(source: ModelSource): boolean {
  return source.recipe.architectures?.some((name) => RETRIEVAL.has(name)) === true;
}

/**
 * Does the bridge read what the language model is asked (InstructBLIP)? HuggingFace's key is `use_qformer_text_input`; in a model that
 * retrieves it says only that the bridge reads texts at all.
 */
export function readsInstruction({ bridge, languageModel }: ModelParts): boolean {
  const config: unknown = bridge.config;
  return languageModel !== undefined && isJsonObject(config) && config['use_qformer_text_input'] === true;
}

/**
 * {@link assembleParts} with the plugins that the document names, and what the encoder keeps in files of its own, an `.onnx` file for instance, is read.
 *
 * @throws QuerentError what assembleParts throws, and what the encoder's `open` does.
 */
export async function openParts(source: ModelSource, registry: PluginRegistry): Promise<ModelParts> {
  const { file } = source.origins.qformer_config;
  const parts = assembleParts(source, await withDocumentPlugins(registry, { plugins: source.recipe['plugins'], ...(file === undefined ? {} : { file }) }));
  const { plugin, config } = parts.encoder;
  if (plugin.open === undefined) return parts;
  const { encoder, parameters } = await plugin.open(config, source.origins.vision_config.folder);
  const named = new Map([...parameters].map(([name, data]) => [`${PART_PREFIXES['vision_config']}${name}`, data]));
  return { ...parts, encoder: { plugin: encoder, config }, encoderParameters: named };
}

/**
 * Finds the plugins and checks the configs.
 *
 * @throws QuerentError QRT_MODEL_UNSUPPORTED for a `model_type` that no plugin has, with the nearest name; QRT_CONFIG_INVALID.
 */
function assembleParts(source: ModelSource, registry: PluginRegistry): ModelParts {
  const { recipe } = source;
  const encoder = pluginOf(registry, 'encoder', source, 'vision_config', recipe.vision_config.model_type);
  const encoderConfig = { ...encoder.defaults, ...checked<EncoderConfig>(encoder.configSchema, source, 'vision_config') };
  const bridge = pluginOf(registry, 'bridge', source, 'qformer_config', recipe.qformer_config.model_type);
  const top = Object.fromEntries(bridge.topLevelKeys.flatMap((key) => (recipe[key] === undefined ? [] : [[key, recipe[key]]])));
  const given = checked<BridgeConfig>(bridge.configSchema, source, 'qformer_config', top);
  // HuggingFace repeats the encoder's width in the bridge's config; a recipe need not.
  const bridgeConfig = { ...bridge.defaults, encoder_hidden_size: encoder.width(encoderConfig), ...given };

  const parts = {
    encoder: { plugin: encoder, config: encoderConfig },
    bridge: { plugin: bridge, config: bridgeConfig },
    processor: processorOf(source, encoder, encoderConfig),
  };
  const hasWeights = [...source.parameters.keys()].some((name) => name.startsWith('language_model.'));
  if (recipe.text_config === undefined || (isRetrieval(source) && !hasWeights)) return parts;
  const plugin = pluginOf(registry, 'language-model', source, 'text_config', recipe.text_config.model_type);
  const has = source.parameters.size === 0 ? undefined : (name: string): boolean => source.parameters.has(`language_model.${name}`);
  return { ...parts, languageModel: { plugin, config: languageConfig(plugin, recipe.text_config, has, whereOf(source, 'text_config')) } };
}

function pluginOf<K extends PluginKind>(registry: PluginRegistry, kind: K, source: ModelSource, key: PartKey, modelType: string): PluginKinds[K] {
  try {
    return registry.get(kind, modelType);
  } catch (error) {
    if (!isQuerentError(error) || error.code !== 'QRT_PLUGIN_UNKNOWN') throw error;
    const { file, at } = source.origins[key];
    throw new QuerentError('QRT_MODEL_UNSUPPORTED', `${file === undefined ? 'The recipe' : file}: ${at}/model_type asks for what is not there. ${error.message}`, {
      fix: error.fix ?? 'Register a plugin of that name.',
      details: error.details,
      cause: error,
    });
  }
}

/** A part's config, with the keys that its plugin reads from the top of the document. */
function checked<Config>(
  schema: Readonly<Record<string, unknown>>,
  source: ModelSource,
  key: PartKey,
  top: Readonly<Record<string, unknown>> = {},
): Config {
  return validate<Config>(schema, { ...top, ...source.recipe[key] }, whereOf(source, key));
}

/** The document that a mistake in a part's config is to be mended in. */
function whereOf(source: ModelSource, key: PartKey): ValidateOptions {
  const { file, at } = source.origins[key];
  return { what: key, at, ...(file === undefined ? {} : { file }) };
}

/** How images are prepared: as `preprocessor_config.json` says, or else as the encoder does for its config. */
function processorOf(source: ModelSource, encoder: EncoderPlugin, config: EncoderConfig): ImageProcessor {
  const { preprocessorConfig, origins } = source;
  if (preprocessorConfig === undefined) return createImageProcessor(encoder.preprocess(config));
  const what = 'preprocessor_config.json';
  return createImageProcessor(validate<PreprocessorConfig>(preprocessorConfigSchema, preprocessorConfig, { what: `${what} of ${origins.vision_config.folder}` }));
}
