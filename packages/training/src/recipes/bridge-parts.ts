/** Parts that all recipes with a bridge share: its plugin and config, weights to begin with, tokens, and paths to write. */
import { relative } from 'node:path';
import type { BridgeConfig, BridgePlugin, ParameterSet } from '@querent/core';
import { QuerentError } from '@querent/core';
import type { JsonObject, ModelFolder, Tokenizer } from '@querent/hub';
import { asFloat32, isJsonObject, loadTensors } from '@querent/hub';
import type { AnnotatedImage } from '../data/annotations.ts';
import { normaliseCaption } from '../data/text.ts';
import type { TrainingPlugins } from '../train-recipe.ts';

export interface BridgeOfDocument {
  readonly plugin: BridgePlugin;
  /** Complete: defaults, top-level keys, `qformer_config`. */
  readonly config: BridgeConfig;
  /** The bridge's part of a `config.json` to write. */
  readonly folderConfig: JsonObject;
}

/**
 * The bridge that a recipe or a model's `config.json` describes.
 * @param encoderWidth the width of what it looks at, for a config that is silent about it
 * @throws QuerentError QRT_CONFIG_INVALID when it describes none.
 */
export function bridgeOf(document: JsonObject, plugins: Pick<TrainingPlugins, 'bridge'>, encoderWidth?: number): BridgeOfDocument {
  const given = document['qformer_config'];
  if (!isJsonObject(given)) {
    throw new QuerentError('QRT_CONFIG_INVALID', 'The recipe has neither qformer_config nor init.', { fix: 'Give the bridge’s config, or a folder to begin with.' });
  }
  const plugin = plugins.bridge(String(given['model_type']));
  const top = Object.fromEntries(plugin.topLevelKeys.flatMap((key) => (document[key] === undefined ? [] : [[key, document[key]]])));
  const seen = encoderWidth === undefined || !('encoder_hidden_size' in plugin.defaults) ? {} : { encoder_hidden_size: encoderWidth };
  const config: JsonObject = { ...plugin.defaults, ...seen, ...top, ...given };
  return {
    plugin,
    config: config as unknown as BridgeConfig, // the plugin's schema has accepted it
    folderConfig: {
      model_type: 'blip-2',
      ...Object.fromEntries(plugin.topLevelKeys.map((key) => [key, config[key]])),
      qformer_config: Object.fromEntries(Object.entries(config).filter(([key]) => !plugin.topLevelKeys.includes(key))),
    },
  };
}

/** Those weights of a trained folder whose names pass, in fp32. */
export async function trainedWeights(folder: ModelFolder, passes: (name: string) => boolean): Promise<ParameterSet> {
  const loaded = await loadTensors(new Map([...folder.parameters].filter(([name]) => passes(name))));
  return new Map([...loaded].map(([name, data]) => [name, asFloat32(data)]));
}

/** The tokens that stage 1 puts around a caption. @throws QuerentError QRT_TOKENIZER when the vocabulary lacks one. */
export function textTokens(tokenizer: Tokenizer, path: string): { readonly cls: number; readonly sep: number; readonly dec: number; readonly pad: number } {
  const id = (token: string): number => {
    const found = tokenizer.tokenToId(token);
    if (found !== undefined) return found;
    throw new QuerentError('QRT_TOKENIZER', `${path} has no token ${token}.`, { fix: 'Train the tokenizer with [CLS], [SEP] and [DEC] among its special tokens.' });
  };
  return { cls: id('[CLS]'), sep: id('[SEP]'), dec: id('[DEC]'), pad: tokenizer.specials.pad ?? 0 };
}

/** `path` as a `from` of the `config.json` in `folder`. */
export function fromOf(folder: string, path: string): string {
  return relative(folder, path).replaceAll('\\', '/');
}

/** Captions to try a tokenizer on. */
export function sampleCaptions(images: readonly AnnotatedImage[]): string[] {
  return images.slice(0, 100).flatMap((image) => image.captions.map(normaliseCaption));
}
