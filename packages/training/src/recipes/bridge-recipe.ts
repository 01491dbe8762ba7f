/**
 * Recipes that train a bridge: `stage1` and `stage2`. This file finds their parts on disk (encoder, cached features,
 * language model, weights to begin with) and says how the trained folder is written; the graphs and the feeding are in
 * `stage1.ts` and `stage2.ts`.
 */
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import type { BridgeConfig, BridgePlugin, EncoderConfig, JsonSchema, LanguageModelPlugin, ParameterSet, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import { createGraph } from '@querent/graph';
import type { ModelFolder } from '@querent/hub';
import { asFloat32, loadTensors, loadTokenizer, openModelFolder, saveModelFolder } from '@querent/hub';
import { createImageProcessor, decodeImage } from '@querent/images';
import { readAnnotations } from '../data/annotations.ts';
import type { AnnotatedImage } from '../data/annotations.ts';
import { createTextEncoder } from '../data/encode-text.ts';
import type { FeatureCache } from '../data/feature-cache.ts';
import { openFeatureCache } from '../data/feature-cache.ts';
import { captionPairs } from '../data/image-captions.ts';
import { normaliseCaption } from '../data/text.ts';
import type { ViewOptions } from '../data/views.ts';
import { imageViews, viewOptionsSchema } from '../data/views.ts';
import type { RecipeEvent, TrainRecipeOptions } from '../train-recipe.ts';
import type { PreparedRun } from './common.ts';
import { RUN_NUMBERS_REQUIRED, runNumbersProperties } from './common.ts';
import type { SelfCriticalNumbers } from './scst.ts';
import { prepareSelfCritical } from './scst.ts';
import type { Stage1Numbers } from './stage1.ts';
import { prepareStage1 } from './stage1.ts';
import type { Stage2Numbers, Stage2Parts } from './stage2.ts';
import { LANGUAGE_MODEL_SCOPE, prepareStage2 } from './stage2.ts';

/** What both stages are told about images and parts. Paths of models are relative to the recipe, of data to the data folder. */
interface BridgeRecipeParts {
  /** Folder of the frozen encoder. */
  readonly encoder: string;
  readonly images: string;
  readonly annotations: { readonly file: string; readonly splits: readonly string[] };
  readonly views: ViewOptions;
  readonly maxTokens: number;
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
}

export interface Stage2Recipe extends Stage2Numbers, BridgeRecipeParts {
  readonly kind: 'stage2';
  /** Folder of the frozen language model: the one line that changes. */
  readonly language_model: string;
}

export interface SelfCriticalRecipe extends SelfCriticalNumbers, BridgeRecipeParts {
  readonly kind: 'scst';
  readonly language_model: string;
}

export type BridgeRecipe = Stage1Recipe | Stage2Recipe | SelfCriticalRecipe;

const partProperties = {
  $schema: { type: 'string' },
  encoder: { type: 'string' },
  images: { type: 'string' },
  annotations: {
    type: 'object',
    properties: { file: { type: 'string' }, splits: { type: 'array', items: { type: 'string' }, minItems: 1 } },
    required: ['file', 'splits'],
    additionalProperties: false,
  },
  views: viewOptionsSchema,
  maxTokens: { type: 'integer', minimum: 3 },
  vision_layer_norm: { type: 'boolean' },
  qformer_config: { type: 'object', properties: { model_type: { type: 'string' } }, required: ['model_type'] },
  num_query_tokens: { type: 'integer', minimum: 1 },
  image_text_hidden_size: { type: 'integer', minimum: 1 },
  init: { type: 'string' },
  labelSmoothing: { type: 'number', minimum: 0, exclusiveMaximum: 1 },
  dropout: { type: 'number', minimum: 0, exclusiveMaximum: 1 },
  ...runNumbersProperties,
} as const;

const weight = { type: 'number', minimum: 0 } as const;
const partsRequired = ['kind', 'encoder', 'images', 'annotations', 'views', 'maxTokens', ...RUN_NUMBERS_REQUIRED] as const;

export const stage1RecipeSchema: JsonSchema = {
  type: 'object',
  properties: {
    ...partProperties,
    kind: { const: 'stage1' },
    tokenizer: { type: 'string' },
    weights: { type: 'object', properties: { itc: weight, itm: weight, itg: weight }, required: ['itc', 'itm', 'itg'], additionalProperties: false },
  },
  required: [...partsRequired, 'tokenizer', 'weights'],
  additionalProperties: false,
};

export const stage2RecipeSchema: JsonSchema = {
  type: 'object',
  properties: {
    ...partProperties,
    kind: { const: 'stage2' },
    language_model: { type: 'string' },
    prompt: {
      type: 'object',
      properties: { text: { type: 'string' }, share: { type: 'number', minimum: 0, maximum: 1 } },
      required: ['text', 'share'],
      additionalProperties: false,
    },
    prefixShare: { type: 'number', minimum: 0, maximum: 1 },
  },
  required: [...partsRequired, 'language_model'],
  additionalProperties: false,
};

export const selfCriticalRecipeSchema: JsonSchema = {
  type: 'object',
  properties: {
    ...partProperties,
    kind: { const: 'scst' },
    language_model: { type: 'string' },
    samples: { type: 'integer', minimum: 2, description: 'Captions drawn of each image.' },
    temperature: { type: 'number', exclusiveMinimum: 0 },
    maxNewTokens: { type: 'integer', minimum: 2 },
  },
  required: [...partsRequired, 'language_model', 'samples', 'temperature', 'maxNewTokens'],
  additionalProperties: false,
};

/** Opens everything that a stage-1 or stage-2 recipe names; computes the feature cache first where there is none. */
export async function* prepareBridgeRecipe(recipe: BridgeRecipe, options: TrainRecipeOptions): AsyncGenerator<RecipeEvent, PreparedRun> {
  const at = (path: string): string => resolve(options.recipeFolder, path);
  const initFolder = options.init ?? (recipe.init === undefined ? undefined : at(recipe.init));
  const init = initFolder === undefined ? undefined : await openModelFolder(initFolder);
  const { plugin, config } = bridgeOf(recipe, init, options);
  const images = await readAnnotations(join(options.dataFolder, recipe.annotations.file), recipe.annotations.splits);
  const cache = yield* features(recipe, images, options);
  const initial = init === undefined ? undefined : await bridgeWeights(init);
  const folderConfig = {
    model_type: 'blip-2',
    ...Object.fromEntries(plugin.topLevelKeys.map((key) => [key, (config as unknown as Record<string, unknown>)[key]])), // a config is a JSON object
    qformer_config: Object.fromEntries(Object.entries(config).filter(([key]) => !plugin.topLevelKeys.includes(key))),
  };
  const fromOf = (folder: string, path: string): string => relative(folder, path).replaceAll('\\', '/');

  if (recipe.kind === 'stage1') {
    const tokenizerPath = at(recipe.tokenizer);
    const tokenizer = await loadTokenizer(tokenizerPath);
    const id = (token: string): number => need(tokenizer.tokenToId(token), `${tokenizerPath} has no token ${token}`);
    return prepareStage1(recipe, {
      plugin, config, cache,
      pairs: captionPairs(images, createTextEncoder(tokenizer, sampleCaptions(images)), recipe.maxTokens),
      tokens: { cls: id('[CLS]'), sep: id('[SEP]'), dec: id('[DEC]'), pad: tokenizer.specials.pad ?? 0 },
      ...(initial === undefined ? {} : { initial }),
      save: (weights, folder) =>
        saveModelFolder(folder, {
          config: { architectures: ['Blip2ForImageTextRetrieval'], ...folderConfig, vision_config: { from: fromOf(folder, at(recipe.encoder)) } },
          parameters: weights,
          tokenizer: tokenizerPath.endsWith('.json') ? tokenizerPath : join(tokenizerPath, 'tokenizer.json'),
          dtype: 'float32',
        }),
    });
  }

  const languageFolder = await openModelFolder(at(recipe.language_model));
  const languageModel: LanguageModelPlugin = options.plugins.languageModel(String(languageFolder.config['model_type']));
  const tokenizer = await loadTokenizer(at(recipe.language_model));
  const frozen = new Map([...languageFolder.parameters].map(([name, data]) => [`${LANGUAGE_MODEL_SCOPE}.${name}`, data] as const));
  const parts: Stage2Parts = {
    plugin, config, cache, languageModel, tokenizer, frozen,
    languageConfig: languageFolder.config,
    pairs: captionPairs(images, createTextEncoder(tokenizer, sampleCaptions(images)), recipe.maxTokens),
    ...(initial === undefined ? {} : { initial }),
    save: (weights, folder) =>
      saveModelFolder(folder, {
        config: {
          architectures: ['Blip2ForConditionalGeneration'],
          ...folderConfig,
          vision_config: { from: fromOf(folder, at(recipe.encoder)) },
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

function bridgeOf(recipe: BridgeRecipe, init: ModelFolder | undefined, options: TrainRecipeOptions): { plugin: BridgePlugin; config: BridgeConfig } {
  const document: Readonly<Record<string, unknown>> | undefined = init?.config ?? (recipe.qformer_config === undefined ? undefined : { ...recipe });
  const given = document?.['qformer_config'] as Readonly<Record<string, unknown>> | undefined; // an object by the recipe's and the folder's schema
  if (document === undefined || given === undefined) {
    throw new QuerentError('QRT_CONFIG_INVALID', 'The recipe has neither qformer_config nor init.', { fix: 'Give the bridge’s config, or a folder to begin with.' });
  }
  const plugin = options.plugins.bridge(String(given['model_type']));
  const top = Object.fromEntries(plugin.topLevelKeys.flatMap((key) => (document[key] === undefined ? [] : [[key, document[key]]])));
  return { plugin, config: { ...plugin.defaults, ...top, ...given } as BridgeConfig }; // the plugin's schema has accepted it
}

/** The bridge's own weights of a trained folder, in fp32. */
async function bridgeWeights(folder: ModelFolder): Promise<ParameterSet> {
  const own = new Map([...folder.parameters].filter(([name]) => !/^(language_model|vision_model)\./.test(name)));
  const loaded = await loadTensors(own);
  return new Map([...loaded].map(([name, data]) => [name, asFloat32(data)]));
}

async function* features(recipe: BridgeRecipe, images: readonly AnnotatedImage[], options: TrainRecipeOptions): AsyncGenerator<RecipeEvent, FeatureCache> {
  const folder = await openModelFolder(resolve(options.recipeFolder, recipe.encoder));
  const plugin = options.plugins.encoder(String(folder.config['model_type']));
  const config = { ...plugin.defaults, ...folder.config } as EncoderConfig; // the plugin's schema has accepted it
  const processor = createImageProcessor(plugin.preprocess(config));
  const g = createGraph('encoder');
  const { height, width } = processor;
  const output = plugin.build(g, g.input('pixel_values', 'float32', ['batch', 3, height, width]), config);
  g.output('features', output.lastHiddenState);
  await using encoder = await options.engine.compile(g.graph, folder.parameters);

  const { views } = recipe;
  const key = createHash('sha256').update(JSON.stringify([folder.config, views, images.map((image) => image.filename)])).digest('hex').slice(0, 16);
  await mkdir(options.cacheFolder, { recursive: true });
  const progress: RecipeEvent[] = [];
  const opening = openFeatureCache({
    file: join(options.cacheFolder, `features-${key}.f16`),
    images: images.length,
    views: views.count,
    patches: plugin.patches(config),
    width: plugin.width(config),
    compute: async (index) => {
      const picture = await decodeImage(join(options.dataFolder, recipe.images, images[index]!.filename));
      const pixels = imageViews(picture, processor, views, index);
      const { features: computed } = await encoder.run({ pixel_values: pixels });
      return (computed as TensorData<'float32'>).data; // the encoder's output is float32
    },
    onProgress: (done, total) => progress.push({ type: 'prepare', what: 'features', done, total }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  let cache: FeatureCache | undefined;
  let failure: unknown;
  const settled = opening.then((opened) => { cache = opened; }, (error: unknown) => { failure = error; });
  while (cache === undefined && failure === undefined) {
    await Promise.race([settled, new Promise((wake) => setTimeout(wake, 500))]);
    const latest = progress.splice(0).at(-1);
    if (latest !== undefined) yield latest;
  }
  if (cache === undefined) throw failure;
  return cache;
}

function sampleCaptions(images: readonly AnnotatedImage[]): string[] {
  return images.slice(0, 100).flatMap((image) => image.captions.map(normaliseCaption));
}

function need<T>(value: T | undefined, problem: string): T {
  if (value === undefined) throw new QuerentError('QRT_TOKENIZER', `${problem}.`, { fix: 'Train the tokenizer with [CLS], [SEP] and [DEC] among its special tokens.' });
  return value;
}
