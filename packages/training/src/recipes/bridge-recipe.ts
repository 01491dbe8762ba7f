/**
 * Recipes that train a bridge: `stage1` and `stage2`. This file finds their parts on disk (encoder, cached features,
 * language model, weights to begin with) and says how the trained folder is written; the graphs and the feeding are in
 * `stage1.ts` and `stage2.ts`.
 */
import { join, resolve } from 'node:path';
import type { JsonSchema, ParameterSet } from '@querent/core';
import { QuerentError } from '@querent/core';
import { loadTokenizer, openModelFolder, saveModelFolder } from '@querent/hub';
import { annotatedImages } from '../data/annotated-images.ts';
import type { AnnotationSource } from '../data/annotated-images.ts';
import type { AnnotatedImage } from '../data/annotations.ts';
import { createTextEncoder } from '../data/encode-text.ts';
import type { FeatureCache } from '../data/feature-cache.ts';
import { captionPairs } from '../data/image-captions.ts';
import { cachedFeatures } from '../data/feature-source.ts';
import type { ViewOptions } from '../data/views.ts';
import { viewOptionsSchema } from '../data/views.ts';
import type { RecipeEvent, TrainRecipeOptions } from '../train-recipe.ts';
import { openBert, tokenizerFile, withDecoderToken } from './bert-start.ts';
import type { BridgeOfDocument } from './bridge-parts.ts';
import { bridgeOf, fromOf, sampleCaptions, textTokens, trainedWeights } from './bridge-parts.ts';
import type { PreparedRun } from './common.ts';
import { chooseObjectives, objectivesSchema } from './plugin-objectives.ts';
import type { ChosenObjective, ObjectiveChoice } from './plugin-objectives.ts';
import { RUN_NUMBERS_REQUIRED, initFolder, runNumbersProperties, sourceProperties } from './common.ts';
import type { EncoderChoice } from './frozen-encoder.ts';
import { cachedPictures, encoderChoiceProperties, encoderOf, openChosenEncoder, visionConfigOf } from './frozen-encoder.ts';
import { openFrozenLanguageModel } from './frozen-language-model.ts';
import type { FrozenLanguageModel } from './frozen-language-model.ts';
import type { SelfCriticalNumbers } from './scst.ts';
import { prepareSelfCritical } from './scst.ts';
import type { Stage1Numbers } from './stage1.ts';
import { prepareStage1 } from './stage1.ts';
import type { Stage2Numbers, Stage2Parts } from './stage2.ts';
import { fittingProjection, goesOnFrom, prepareStage2 } from './stage2.ts';

/** What both stages are told about images and parts. Paths of models are relative to the recipe, of data to the data folder. */
interface BridgeRecipeParts extends EncoderChoice {
  readonly images: string;
  readonly annotations: AnnotationSource;
  readonly views: ViewOptions;
  readonly maxTokens: number;
  /** Share of an image's patches that are covered by other patches of it, drawn anew at each step. Default 0. */
  readonly dropPatches?: number;
  /** Train a LayerNorm on the features (`ln_vision`): for encoders without a norm of their own at the end. */
  readonly vision_layer_norm?: boolean;
  /** The bridge's config: for a run that begins without weights. */
  readonly qformer_config?: Readonly<Record<string, unknown>> & { readonly model_type: string };
  readonly num_query_tokens?: number;
  readonly image_text_hidden_size?: number;
  /** A trained folder whose weights and config the bridge begins with. */
  readonly init?: string;
}

export interface Stage1Recipe extends Stage1Numbers, BridgeRecipeParts {
  readonly kind: 'stage1';
  /** Folder or file of the bridge's tokenizer. */
  readonly tokenizer: string;
  /** Folder of a trained BERT that the bridge begins as: its sizes are the config's where that is silent. Not beside `init`. */
  readonly bert?: string;
  /** The token that stands for one that `maskShare` hides. */
  readonly maskToken?: string;
  /** Losses of plugins beside the three. */
  readonly objectives?: readonly ObjectiveChoice[];
}

export interface Stage2Recipe extends Stage2Numbers, BridgeRecipeParts {
  readonly kind: 'stage2';
  /** The frozen language model, a folder or a `.gguf` file: the one line that changes. */
  readonly language_model: string;
  /** Losses of plugins beside the language model's. */
  readonly objectives?: readonly ObjectiveChoice[];
}

export interface SelfCriticalRecipe extends SelfCriticalNumbers, BridgeRecipeParts {
  readonly kind: 'scst';
  readonly language_model: string;
}

export type BridgeRecipe = Stage1Recipe | Stage2Recipe | SelfCriticalRecipe;

const partProperties = {
  $schema: sourceProperties.$schema,
  ...encoderChoiceProperties,
  images: sourceProperties.images,
  annotations: sourceProperties.annotations,
  views: viewOptionsSchema,
  maxTokens: sourceProperties.maxTokens,
  dropPatches: { type: 'number', minimum: 0, exclusiveMaximum: 1, description: 'Share of the patches that are covered by other patches of the same image, drawn anew at each step. Default 0.' },
  vision_layer_norm: { type: 'boolean', description: 'Train a norm over the features: for encoders that do not end with one.' },
  qformer_config: { type: 'object', description: "The bridge's config, for a run that begins without weights.", properties: { model_type: { type: 'string' } }, required: ['model_type'] },
  num_query_tokens: { type: 'integer', minimum: 1, description: 'Learned queries.' },
  image_text_hidden_size: { type: 'integer', minimum: 1, description: 'Width of the space in which image and text are compared.' },
  init: { type: 'string', description: 'A trained folder whose bridge to begin with, relative to the recipe.' },
  labelSmoothing: sourceProperties.labelSmoothing,
  dropout: sourceProperties.dropout,
  ...runNumbersProperties,
} as const;

const languageModel = { type: 'string', description: 'The frozen language model, relative to the recipe: a folder, or a .gguf file.' } as const;
const partsRequired = ['kind', 'encoder', 'images', 'annotations', 'views', 'maxTokens', ...RUN_NUMBERS_REQUIRED] as const;

export const stage1RecipeSchema: JsonSchema = {
  type: 'object',
  properties: {
    ...partProperties,
    kind: { const: 'stage1', description: 'The bridge learns from pairs beside a frozen encoder.' },
    tokenizer: { type: 'string', description: "The bridge's tokenizer, a folder or file relative to the recipe." },
    bert: { type: 'string', description: 'The folder of a trained BERT that the bridge begins as, relative to the recipe: its sizes are the config’s where that is silent.' },
    weights: sourceProperties.weights,
    neighbours: { type: 'number', minimum: 0, maximum: 1, description: 'Share of the batches that are made of photographs that look alike, for harder negatives. Default 0.' },
    maskToken: { type: 'string', description: 'The token that stands for a hidden one.' },
    maskShare: { type: 'number', minimum: 0, exclusiveMaximum: 1, description: 'Share of the tokens that are hidden, drawn anew at each step. Default 0; not with ITG.' },
    objectives: objectivesSchema,
  },
  required: [...partsRequired, 'tokenizer', 'weights'],
  additionalProperties: false,
};

export const stage2RecipeSchema: JsonSchema = {
  type: 'object',
  properties: {
    ...partProperties,
    kind: { const: 'stage2', description: 'The bridge learns to speak to a frozen language model.' },
    language_model: languageModel,
    prompt: sourceProperties.prompt,
    prefixShare: sourceProperties.prefixShare,
    initRate: sourceProperties.initRate,
    objectives: objectivesSchema,
  },
  required: [...partsRequired, 'language_model'],
  additionalProperties: false,
};

export const selfCriticalRecipeSchema: JsonSchema = {
  type: 'object',
  properties: {
    ...partProperties,
    kind: { const: 'scst', description: 'Self-critical training: the bridge learns from captions that the model draws.' },
    language_model: languageModel,
    samples: { type: 'integer', minimum: 2, description: 'Captions drawn of each image.' },
    temperature: { type: 'number', exclusiveMinimum: 0, description: 'Divides the logits before a draw.' },
    maxNewTokens: { type: 'integer', minimum: 2, description: 'Longest caption drawn.' },
  },
  required: [...partsRequired, 'language_model', 'samples', 'temperature', 'maxNewTokens'],
  additionalProperties: false,
};

/** Opens everything that a stage-1 or stage-2 recipe names; computes the feature cache first where there is none. */
export async function* prepareBridgeRecipe(recipe: BridgeRecipe, options: TrainRecipeOptions): AsyncGenerator<RecipeEvent, PreparedRun> {
  const begunFrom = initFolder(recipe, options);
  const init = begunFrom === undefined ? undefined : await openModelFolder(begunFrom);
  const bert = init === undefined && recipe.kind === 'stage1' && recipe.bert !== undefined ? await openBert(resolve(options.recipeFolder, recipe.bert), recipe, options) : undefined;
  const encoderFolder = await openChosenEncoder(recipe, options.recipeFolder);
  const encoder = encoderOf(encoderFolder.config, options.plugins);
  const bridge = bridgeOf(init?.config ?? bert?.document ?? { ...recipe }, options.plugins, encoder.plugin.width(encoder.config));
  const begun = await bert?.weights(bridge.config, recipe.seed); // what does not fit is told before hours of features
  const objectives = chooseObjectives('objectives' in recipe ? recipe.objectives : undefined, options.plugins.objective);
  const images = await annotatedImages(recipe.annotations, { ...options, dataset: options.plugins.dataset });
  const language = recipe.kind === 'stage1' ? undefined : await openFrozenLanguageModel(resolve(options.recipeFolder, recipe.language_model), options.plugins);
  let initial = init === undefined ? begun : await trainedWeights(init, (name) => !/^(language_model|vision_model)\./.test(name));
  if (recipe.kind === 'stage2' && language !== undefined && initial !== undefined) {
    const { kept, note } = fittingProjection(initial, language);
    initial = kept;
    if (note !== undefined) yield { type: 'note', text: note };
  }
  const pictures = { folder: join(options.dataFolder, recipe.images), filenames: images.map((image) => image.filename) };
  const cache = yield* cachedPictures(encoderFolder, recipe.views, pictures, options);
  try {
    return await runOver({ bridge, images, cache, initial, objectives, language }, recipe, options);
  } catch (error) {
    await cache.close();
    throw error;
  }
}

interface OpenedParts {
  readonly bridge: BridgeOfDocument;
  readonly images: readonly AnnotatedImage[];
  readonly cache: FeatureCache;
  readonly initial: ParameterSet | undefined;
  readonly objectives: readonly ChosenObjective[];
  /** Of the recipes that have one. */
  readonly language: FrozenLanguageModel | undefined;
}

/** The run over parts that are open; it closes the cache in the end. */
async function runOver({ bridge, images, cache, initial, objectives, language }: OpenedParts, recipe: BridgeRecipe, options: TrainRecipeOptions): Promise<PreparedRun> {
  const at = (path: string): string => resolve(options.recipeFolder, path);
  const { plugin, config, folderConfig } = bridge;
  const source = cachedFeatures(cache, recipe.dropPatches);
  const close = (): Promise<void> => cache.close();
  const plugins = recipe.plugins === undefined ? {} : { plugins: recipe.plugins }; // the trained folder needs them too
  if (recipe.kind === 'stage1') {
    const tokenizerPath = at(recipe.tokenizer);
    const { tokenizer, document } = recipe.bert === undefined ? { tokenizer: await loadTokenizer(tokenizerPath), document: tokenizerFile(tokenizerPath) } : await withDecoderToken(tokenizerPath);
    return prepareStage1(recipe, {
      plugin, config, source, close, objectives,
      pairs: captionPairs(images, createTextEncoder(tokenizer, sampleCaptions(images)), recipe.maxTokens),
      tokens: { ...textTokens(tokenizer, tokenizerPath), mask: recipe.maskToken === undefined ? undefined : tokenizer.tokenToId(recipe.maskToken) },
      ...(initial === undefined ? {} : { initial }),
      save: (weights, folder) =>
        saveModelFolder(folder, {
          config: { architectures: ['Blip2ForImageTextRetrieval'], ...plugins, ...folderConfig, vision_config: visionConfigOf(recipe, options.recipeFolder, folder) },
          parameters: weights,
          tokenizer: document,
          dtype: 'float32',
        }),
    });
  }

  if (language === undefined) throw new QuerentError('QRT_USAGE', `A recipe of kind ${recipe.kind} needs a language model.`);
  const prompt = 'prompt' in recipe ? recipe.prompt : undefined;
  const parts: Stage2Parts = {
    plugin, config, source, close, objectives, ...language,
    pairs: captionPairs(images, createTextEncoder(language.tokenizer, sampleCaptions(images), goesOnFrom(language, prompt?.text)), recipe.maxTokens),
    ...(initial === undefined ? {} : { initial }),
    save: (weights, folder) =>
      saveModelFolder(folder, {
        config: {
          architectures: ['Blip2ForConditionalGeneration'],
          ...plugins,
          ...(prompt?.share === 1 ? { prompts: { caption: prompt.text } } : {}), // it has never been asked otherwise
          ...folderConfig,
          vision_config: visionConfigOf(recipe, options.recipeFolder, folder),
          text_config: { from: fromOf(folder, at(recipe.language_model)) },
        },
        parameters: weights,
        dtype: 'float32',
      }),
  };
  if (recipe.kind === 'stage2') return prepareStage2(recipe, parts);
  const hooks = options.selfCritical;
  if (hooks === undefined) throw new QuerentError('QRT_USAGE', 'A recipe of kind scst needs a sampler and a reward.', { fix: 'Pass selfCritical; `querent train` does.' });
  return prepareSelfCritical(recipe, { ...parts, engine: options.engine, hooks });
}
