/**
 * Pre-training of a small language model on caption text, before it is frozen behind a bridge. In most captions a few
 * content words of the caption stand in front of it, so that the model has learnt to listen to a prefix by the time that
 * the prefix is a soft prompt. Read `stage2.ts` for what happens to it next.
 */
import { join } from 'node:path';
import type { JsonSchema, LanguageModelPlugin, ParameterSet, TensorData } from '@querent/core';
import type { Tokenizer } from '@querent/hub';
import { saveModelFolder, padRows } from '@querent/hub';
import { createGraph } from '@querent/graph';
import { createBatchPlan, mixSeed, randomAt } from '../data/batches.ts';
import { createTextEncoder, tokenCorpus } from '../data/encode-text.ts';
import { readAnnotations } from '../data/annotations.ts';
import type { KeywordOptions } from '../data/text.ts';
import { drawKeywords, normaliseCaption, readLines } from '../data/text.ts';
import { trainingGraph } from '../training-graph.ts';
import type { PreparedRun, RunNumbers } from './common.ts';
import { RUN_NUMBERS_REQUIRED, runNumbersProperties, sourceProperties } from './common.ts';
import { startValues } from './start-values.ts';

export interface TextSource {
  /** Text files, one caption a line, relative to the data folder. */
  readonly files: readonly string[];
  /** An annotation file whose captions are read as well. */
  readonly annotations?: { readonly file: string; readonly splits: readonly string[]; readonly repeat?: number };
}

export interface LanguageModelRecipe extends RunNumbers {
  readonly kind: 'language-model';
  readonly text_config: Readonly<Record<string, unknown>> & { readonly model_type: string };
  /** A folder or file with the tokenizer, relative to the recipe. */
  readonly tokenizer: string;
  /** A trained folder of the same sizes whose weights to begin with, relative to the recipe. */
  readonly init?: string;
  readonly text: TextSource;
  readonly keywords: KeywordOptions;
  /** Share of captions that begin with `prompt`, so that it may be asked for. */
  readonly prompt?: { readonly text: string; readonly share: number };
  readonly maxTokens: number;
  readonly labelSmoothing?: number;
}

export const textSourceSchema: JsonSchema = {
  type: 'object',
  description: 'Where captions come from; paths are relative to the data folder.',
  properties: {
    files: { type: 'array', items: { type: 'string' } },
    annotations: {
      type: 'object',
      properties: {
        file: { type: 'string' },
        splits: { type: 'array', items: { type: 'string' }, minItems: 1 },
        repeat: { type: 'integer', minimum: 1, description: 'How often these captions occur in an epoch.' },
      },
      required: ['file', 'splits'],
      additionalProperties: false,
    },
  },
  required: ['files'],
  additionalProperties: false,
};

export const languageModelRecipeSchema: JsonSchema = {
  type: 'object',
  properties: {
    $schema: sourceProperties.$schema,
    kind: { const: 'language-model', description: 'Pre-trains a small language model on caption text.' },
    text_config: { type: 'object', description: "The language model's config, in HuggingFace's spelling.", properties: { model_type: { type: 'string' } }, required: ['model_type'] },
    tokenizer: { type: 'string', description: 'A folder or file with the tokenizer, relative to the recipe.' },
    init: { type: 'string', description: 'A trained folder of the same sizes whose weights to begin with, relative to the recipe.' },
    text: textSourceSchema,
    keywords: {
      type: 'object',
      description: 'How content words of a caption are put before it, so that the model learns to listen to a prefix.',
      properties: {
        share: { type: 'number', minimum: 0, maximum: 1 },
        keep: { type: 'array', items: { type: 'number', minimum: 0, maximum: 1 }, minItems: 2, maxItems: 2 },
        distractors: { type: 'number', minimum: 0, maximum: 1 },
        most: { type: 'integer', minimum: 1 },
      },
      required: ['share', 'keep', 'distractors', 'most'],
      additionalProperties: false,
    },
    prompt: sourceProperties.prompt,
    maxTokens: { ...sourceProperties.maxTokens, minimum: 2 },
    labelSmoothing: sourceProperties.labelSmoothing,
    ...runNumbersProperties,
  },
  required: ['kind', 'text_config', 'tokenizer', 'text', 'keywords', 'maxTokens', ...RUN_NUMBERS_REQUIRED],
  additionalProperties: false,
};

/** All captions of a source, normalised; those with fewer than three words are left out. */
export async function readCaptions(source: TextSource, dataFolder: string): Promise<string[]> {
  const captions: string[] = [];
  for (const file of source.files) for (const line of await readLines(join(dataFolder, file))) captions.push(line);
  if (source.annotations !== undefined) {
    const { file, splits, repeat } = source.annotations;
    const images = await readAnnotations(join(dataFolder, file), splits);
    for (let i = 0; i < (repeat ?? 1); i++) for (const image of images) captions.push(...image.captions);
  }
  return captions.map(normaliseCaption).filter((caption) => caption.split(' ').length >= 3);
}

export interface LanguageModelParts {
  readonly plugin: LanguageModelPlugin;
  readonly tokenizer: Tokenizer;
  readonly tokenizerFile: string;
  readonly dataFolder: string;
  /** Weights to begin with, in fp32. */
  readonly initial?: ParameterSet;
}

/** Graph, data and saving of a language-model recipe. @throws QuerentError QRT_DATASET, QRT_CHECKPOINT_MISMATCH */
export async function prepareLanguageModel(recipe: LanguageModelRecipe, parts: LanguageModelParts): Promise<PreparedRun> {
  const { plugin, tokenizer } = parts;
  const config = recipe.text_config;
  const g = createGraph('language-model');
  const { loss } = plugin.loss(
    g,
    {
      promptIds: g.input('prompt_ids', 'int64', ['batch', 'prompt']),
      promptMask: g.input('prompt_mask', 'int64', ['batch', 'prompt']),
      labels: g.input('labels', 'int64', ['batch', 'labels']),
    },
    config,
    { labelSmoothing: recipe.labelSmoothing ?? 0 },
  );
  const graph = trainingGraph(g, { loss }, () => true);

  const captions = await readCaptions(recipe.text, parts.dataFolder);
  const encode = createTextEncoder(tokenizer, captions);
  const corpus = tokenCorpus(captions.map((caption) => encode(caption).slice(0, recipe.maxTokens - 1)));
  const plan = createBatchPlan({ samples: corpus.length, batchSize: recipe.batch, seed: recipe.seed, lengthOf: corpus.lengthOf });
  const specials = plugin.specialTokens(config);
  const [eos, pad] = [specials.eos[0]!, specials.pad ?? 0];
  const open = tokenizer.encode('', { addSpecialTokens: true });
  const openPrompted = recipe.prompt === undefined ? open : tokenizer.encode(recipe.prompt.text, { addSpecialTokens: true });

  return {
    graph,
    frozen: new Map(),
    start: startValues(graph, recipe.seed, {}, parts.initial),
    steps: Math.floor((plan.batchesPerEpoch * recipe.epochs) / (recipe.accumulate ?? 1)),
    batchAt: async (step, micro) => {
      const place = step * (recipe.accumulate ?? 1) + micro;
      const random = randomAt(mixSeed(recipe.seed, 3), place);
      const samples = plan.at(place);
      const prompts = samples.map((sample) => {
        const words = drawKeywords(captions[sample]!, captions[random.int(captions.length)]!, recipe.keywords, random);
        const isPrompted = recipe.prompt !== undefined && random.next() < recipe.prompt.share;
        return [...words.flatMap((word) => encode(word)), ...(isPrompted ? openPrompted : open)];
      });
      const prompt = padRows(prompts, pad, plugin.promptPadding);
      const labels = padRows(samples.map((sample) => [...corpus.at(sample), eos]), -100, 'right');
      return {
        samples: samples.length,
        feeds: {
          prompt_ids: { dtype: 'int64', shape: [samples.length, prompt.width], data: prompt.ids },
          prompt_mask: { dtype: 'int64', shape: [samples.length, prompt.width], data: prompt.mask },
          labels: { dtype: 'int64', shape: [samples.length, labels.width], data: labels.ids },
        },
      };
    },
    save: (weights: ReadonlyMap<string, TensorData<'float32'>>, folder) =>
      saveModelFolder(folder, { config, parameters: weights, tokenizer: parts.tokenizerFile, dtype: 'float16' }),
  };
}
