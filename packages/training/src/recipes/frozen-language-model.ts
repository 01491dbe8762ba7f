/**
 * The language model that a recipe names, frozen: a folder, or a `.gguf` file or a folder that holds one. Blocks of a GGUF file are
 * decoded once, because gradients flow through its weights; the file itself is what the trained folder names.
 */
import type { LanguageModelPlugin, ParameterSet } from '@querent/core';
import { QuerentError, languageConfig } from '@querent/core';
import type { Tokenizer } from '@querent/hub';
import { loadTokenizer, openModelFolder, withoutGguf } from '@querent/hub';
import type { TrainingPlugins } from '../train-recipe.ts';
import { LANGUAGE_MODEL_SCOPE } from './stage2.ts';

export interface FrozenLanguageModel {
  readonly languageModel: LanguageModelPlugin;
  /** Complete: what its class assumes where the file is silent, and what the weights decide. */
  readonly languageConfig: unknown;
  /** Its own, with its special tokens. */
  readonly tokenizer: Tokenizer;
  /** Its weights, under `language_model.`: in the file where an engine can read them there, else float32 in memory. */
  readonly frozen: ParameterSet;
}

/**
 * Opens it by its `model_type`.
 * @throws QuerentError QRT_FILE, QRT_CONFIG_INVALID, QRT_CHECKPOINT_FORMAT; QRT_TOKENIZER when there is none, or one that is not read.
 */
export async function openFrozenLanguageModel(path: string, plugins: Pick<TrainingPlugins, 'languageModel'>): Promise<FrozenLanguageModel> {
  const folder = await openModelFolder(path);
  const languageModel = plugins.languageModel(String(folder.config['model_type']));
  const config = languageConfig(languageModel, folder.config, (name) => folder.parameters.has(name), { what: `the config of the ${languageModel.name} language model`, file: folder.path });
  if (folder.tokenizerFile === undefined) {
    throw new QuerentError('QRT_TOKENIZER', `The language model ${path} has no tokenizer.json.`, { fix: 'Put the one that it was trained with into its folder.' });
  }
  const tokenizer = await loadTokenizer(folder.tokenizerFile);
  const plain = await withoutGguf(folder.parameters);
  return { languageModel, languageConfig: config, tokenizer, frozen: new Map([...plain].map(([name, data]) => [`${LANGUAGE_MODEL_SCOPE}.${name}`, data] as const)) };
}
