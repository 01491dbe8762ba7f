/** The plugins that a fixture's configs ask for, and what there is when they ask for something else. */
import type { BridgePlugin, DualEncoderFamily, EncoderPlugin, LanguageModelPlugin, Plugin, PluginKind, PluginKinds } from '@querent/core';
import { QuerentError } from '@querent/core';
import { dualEncoders, encoderPlugins } from '@querent/encoders';
import { languageModels } from '@querent/llm-adapters';
import { qformerPlugins } from '@querent/qformer';

export interface Plugins {
  encoder(modelType: string): EncoderPlugin;
  bridge(modelType: string): BridgePlugin;
  languageModel(modelType: string): LanguageModelPlugin;
}

/** What `verify` reads, for messages. */
export function supported(): string {
  const names = (plugins: readonly { readonly name: string }[]): string => plugins.map(({ name }) => name).join(', ');
  return `encoders (${names(encoderPlugins)}), dual encoders (${names(dualEncoders)}), language models (${names(languageModels)}, bert), blip, blip-2 with these parts (captions, image–text matching, stage-1 losses), optimisers, image preprocessing and tokenizers`;
}

export function unsupported(folder: string, what: string): QuerentError {
  return new QuerentError('QRT_MODEL_UNSUPPORTED', `${folder}: ${what} is not verified.`, { fix: `Supported are ${supported()}.`, details: { folder } });
}

type Given = readonly Plugin[];

/** One of the plugins that were handed over: those come before the built-in ones. */
function given<K extends PluginKind>(plugins: Given, kind: K, modelType: string): PluginKinds[K] | undefined {
  return plugins.find((plugin): plugin is Plugin & PluginKinds[K] => plugin.kind === kind && plugin.name === modelType);
}

export function findEncoder(modelType: string, plugins: Given = []): EncoderPlugin | undefined {
  return given(plugins, 'encoder', modelType) ?? encoderPlugins.find(({ name }) => name === modelType);
}

export function findDualEncoder(modelType: string): DualEncoderFamily | undefined {
  return dualEncoders.find(({ name }) => name === modelType);
}

export function findLanguageModel(modelType: string, plugins: Given = []): LanguageModelPlugin | undefined {
  return given(plugins, 'language-model', modelType) ?? languageModels.find(({ name }) => name === modelType);
}

export function pluginsFor(folder: string, plugins: Given = []): Plugins {
  const need = <P>(plugin: P | undefined, what: string): P => {
    if (plugin === undefined) throw unsupported(folder, what);
    return plugin;
  };
  return {
    encoder: (modelType) => need(findEncoder(modelType, plugins), `the encoder ${modelType}`),
    bridge: (modelType) => need(given(plugins, 'bridge', modelType) ?? qformerPlugins.find(({ name }) => name === modelType), `the bridge ${modelType}`),
    languageModel: (modelType) => need(findLanguageModel(modelType, plugins), `the language model ${modelType}`),
  };
}
