/**
 * Fine-tuning (BLIP-2, sections 4.3 and 4.5): a trained model goes on learning with its image encoder unfrozen, on captions
 * (the language-modelling loss; the language model stays frozen) or on retrieval (ITC + ITM + ITG). Pictures are cropped and
 * flipped anew at each step, the encoder's rate falls layer by layer towards the pixels, and the folder that is saved
 * carries its own encoder. Graphs and batches are those of `stage1.ts` and `stage2.ts`, over another feature source.
 */
import { join } from 'node:path';
import type { EncoderConfig, EncoderPlugin, JsonSchema, ParameterSet, TensorData } from '@querent/core';
import { QuerentError, validate } from '@querent/core';
import type { JsonObject, ModelFolder, Tokenizer } from '@querent/hub';
import { isJsonObject, loadTokenizer, openModelFolder, saveModelFolder, withoutGguf } from '@querent/hub';
import type { PreprocessorConfig } from '@querent/images';
import { createImageProcessor, preprocessorConfigSchema } from '@querent/images';
import { annotatedImages } from '../data/annotated-images.ts';
import type { AnnotationSource } from '../data/annotated-images.ts';
import { createTextEncoder } from '../data/encode-text.ts';
import type { AugmentationOptions } from '../data/feature-source.ts';
import { encodedPictures } from '../data/feature-source.ts';
import { captionPairs } from '../data/image-captions.ts';
import type { Stage1Weights } from '../objectives/stage1.ts';
import type { TrainRecipeOptions } from '../train-recipe.ts';
import type { BridgeOfDocument } from './bridge-parts.ts';
import { bridgeOf, fromOf, sampleCaptions, textTokens, trainedWeights } from './bridge-parts.ts';
import type { PreparedRun, RunNumbers } from './common.ts';
import { RUN_NUMBERS_REQUIRED, initFolder, runNumbersProperties, sourceProperties } from './common.ts';
import { prepareStage1 } from './stage1.ts';
import type { Stage2Numbers } from './stage2.ts';
import { LANGUAGE_MODEL_SCOPE, prepareStage2 } from './stage2.ts';

/** Where the encoder's parameters stand in a BLIP-2 checkpoint. */
export const VISION_SCOPE = 'vision_model';

export interface FinetuneRecipe extends RunNumbers, Pick<Stage2Numbers, 'labelSmoothing' | 'dropout' | 'prompt' | 'prefixShare'> {
  readonly kind: 'finetune';
  /** What is learnt: captions (needs a language model) or retrieval. */
  readonly objective: 'caption' | 'retrieval';
  /** The trained folder to go on from, relative to the recipe; `--init` comes before it. */
  readonly init?: string;
  readonly images: string;
  readonly annotations: AnnotationSource;
  readonly maxTokens: number;
  readonly augment: AugmentationOptions;
  /** The encoder's learning rate is scaled by `layerDecay ** (layers above this one)`. 1 is the same rate everywhere. */
  readonly layerDecay: number;
  /** Of retrieval. Default 1 : 1 : 1. */
  readonly weights?: Stage1Weights;
}

const share = { type: 'number', minimum: 0, maximum: 1 } as const;

export const finetuneRecipeSchema: JsonSchema = {
  type: 'object',
  description: 'Goes on training a model with its image encoder unfrozen.',
  properties: {
    $schema: sourceProperties.$schema,
    kind: { const: 'finetune', description: 'Fine-tuning.' },
    objective: { enum: ['caption', 'retrieval'], description: 'What is learnt: `caption` needs a folder of stage 2, `retrieval` one of stage 1.' },
    init: { type: 'string', description: 'The trained folder to go on from, relative to the recipe; `--init` comes before it.' },
    images: sourceProperties.images,
    annotations: sourceProperties.annotations,
    maxTokens: sourceProperties.maxTokens,
    augment: {
      type: 'object',
      description: 'How pictures are varied from step to step.',
      properties: {
        scale: { type: 'array', items: { type: 'number', exclusiveMinimum: 0, maximum: 1 }, minItems: 2, maxItems: 2, description: 'Least and greatest part of the area that a crop keeps.' },
        flip: { ...share, description: 'Chance that left and right are swapped. Default 0.5.' },
      },
      required: ['scale'],
      additionalProperties: false,
    },
    layerDecay: { type: 'number', exclusiveMinimum: 0, maximum: 1, description: 'Scales the rate of each encoder layer once more than that of the layer above it. 1 is the same rate everywhere.' },
    weights: sourceProperties.weights,
    prompt: sourceProperties.prompt,
    prefixShare: sourceProperties.prefixShare,
    labelSmoothing: sourceProperties.labelSmoothing,
    dropout: sourceProperties.dropout,
    ...runNumbersProperties,
  },
  required: ['kind', 'objective', 'images', 'annotations', 'maxTokens', 'augment', 'layerDecay', ...RUN_NUMBERS_REQUIRED],
  additionalProperties: false,
};

/** Statistics that an encoder keeps beside its weights: they do not learn. */
const STATISTICS = /\.running_(mean|var)$/;

interface Encoder {
  readonly plugin: EncoderPlugin;
  readonly config: EncoderConfig;
}

/**
 * Opens the model that a fine-tuning recipe goes on from.
 * @throws QuerentError QRT_CONFIG_INVALID when the folder lacks a part, QRT_CHECKPOINT_MISMATCH when encoder weights are missing.
 */
export async function prepareFinetune(recipe: FinetuneRecipe, options: TrainRecipeOptions): Promise<PreparedRun> {
  const path = initFolder(recipe, options);
  if (path === undefined) throw new QuerentError('QRT_CONFIG_INVALID', 'The recipe names no model to fine-tune.', { fix: 'Give /init or --init: a folder that stage 1 or stage 2 has trained.' });
  const init = await openModelFolder(path);
  const encoder = encoderOf(init, options);
  const bridge = bridgeOf(init.config, options.plugins);
  const processor = createImageProcessor(preprocessingOf(init, encoder));
  const images = await annotatedImages(recipe.annotations, { ...options, dataset: options.plugins.dataset });
  const tokenizer = await loadTokenizer(needed(init.tokenizerFile, path, 'tokenizer.json'));
  const initial = await trainedWeights(init, (name) => !name.startsWith(`${LANGUAGE_MODEL_SCOPE}.`));
  const statistics = new Map([...initial].filter(([name]) => STATISTICS.test(name)));
  const parts = {
    plugin: bridge.plugin,
    config: bridge.config,
    source: encodedPictures({ ...encoder, processor, scope: VISION_SCOPE, batch: recipe.batch, images, imageFolder: join(options.dataFolder, recipe.images), augment: recipe.augment }),
    pairs: captionPairs(images, createTextEncoder(tokenizer, sampleCaptions(images)), recipe.maxTokens),
    initial,
    save: saver(recipe, init, bridge, statistics),
  };
  const run = await (recipe.objective === 'retrieval' ? retrievalRun(recipe, init, tokenizer, { ...parts, frozen: statistics }) : captionRun(recipe, init, tokenizer, options, { ...parts, statistics }));
  assertEncoderWeights(run, initial, path);
  return { ...run, learningRateScale: layerWiseScale(encoder, recipe.layerDecay) };
}

/** Multiplies the learning rate of a parameter: 1 outside the encoder, `decay ** (layers above)` inside it. */
export function layerWiseScale({ plugin, config }: Encoder, decay: number): (name: string) => number {
  const layers = plugin.layers(config);
  return (name) => {
    if (!name.startsWith(`${VISION_SCOPE}.`)) return 1;
    return decay ** (layers - 1 - plugin.layerOf(name.slice(VISION_SCOPE.length + 1), config));
  };
}

type SharedParts = Pick<Parameters<typeof prepareStage1>[1], 'plugin' | 'config' | 'source' | 'pairs' | 'save'> & { readonly initial: ParameterSet };

function retrievalRun(recipe: FinetuneRecipe, init: ModelFolder, tokenizer: Tokenizer, parts: SharedParts & { readonly frozen: ParameterSet }): Promise<PreparedRun> {
  return prepareStage1({ ...recipe, weights: recipe.weights ?? { itc: 1, itm: 1, itg: 1 } }, { ...parts, tokens: textTokens(tokenizer, init.path) });
}

async function captionRun(recipe: FinetuneRecipe, init: ModelFolder, tokenizer: Tokenizer, options: TrainRecipeOptions, parts: SharedParts & { readonly statistics: ParameterSet }): Promise<PreparedRun> {
  const languageConfig = partConfig(init, 'text_config');
  const languageModel = await withoutGguf(new Map([...init.parameters].filter(([name]) => name.startsWith(`${LANGUAGE_MODEL_SCOPE}.`))));
  return prepareStage2(recipe, {
    ...parts,
    languageModel: options.plugins.languageModel(String(languageConfig['model_type'])),
    languageConfig,
    tokenizer,
    frozen: new Map([...languageModel, ...parts.statistics]),
  });
}

function encoderOf(init: ModelFolder, options: TrainRecipeOptions): Encoder {
  const given = partConfig(init, 'vision_config');
  const plugin = options.plugins.encoder(String(given['model_type']));
  return { plugin, config: { ...plugin.defaults, ...given } as EncoderConfig }; // the plugin's schema has accepted it
}

function preprocessingOf(init: ModelFolder, { plugin, config }: Encoder): PreprocessorConfig {
  if (init.preprocessorConfig === undefined) return plugin.preprocess(config);
  return validate<PreprocessorConfig>(preprocessorConfigSchema, init.preprocessorConfig, { file: join(init.path, 'preprocessor_config.json'), what: 'the preprocessor' });
}

/** The folder with the encoder's own weights inside; the frozen language model stays where it is. */
function saver(recipe: FinetuneRecipe, init: ModelFolder, bridge: BridgeOfDocument, statistics: ParameterSet): PreparedRun['save'] {
  const isCaption = recipe.objective === 'caption';
  const languageFolder = init.parts.get('text_config')?.path ?? init.path;
  return (weights: ReadonlyMap<string, TensorData<'float32'>>, folder) =>
    saveModelFolder(folder, {
      config: {
        architectures: [isCaption ? 'Blip2ForConditionalGeneration' : 'Blip2ForImageTextRetrieval'],
        ...bridge.folderConfig,
        vision_config: partConfig(init, 'vision_config'),
        ...(isCaption ? { text_config: { from: fromOf(folder, languageFolder) } } : {}),
      },
      parameters: new Map([...weights, ...statistics]),
      dtype: 'float32',
      ...(isCaption || init.tokenizerFile === undefined ? {} : { tokenizer: init.tokenizerFile }),
      ...(init.preprocessorConfig === undefined ? {} : { preprocessorConfig: init.preprocessorConfig }),
      ...(init.generationConfig === undefined ? {} : { generationConfig: init.generationConfig }),
    });
}

/** An encoder that would begin with drawn weights is a mistake of the folder, not a wish. */
function assertEncoderWeights(run: PreparedRun, initial: ParameterSet, path: string): void {
  const declared = [...run.graph.graph.parameters.keys()].filter((name) => name.startsWith(`${VISION_SCOPE}.`));
  const missing = declared.filter((name) => !initial.has(name));
  if (missing.length === 0) return;
  throw new QuerentError('QRT_CHECKPOINT_MISMATCH', `${path} lacks ${missing.length} weights of its encoder: ${missing.slice(0, 5).join(', ')}${missing.length > 5 ? ', …' : ''}.`, {
    fix: 'Begin with a folder whose vision_config has its weights inside or names their folder by `from`.',
    details: { missing },
  });
}

function partConfig(folder: ModelFolder, key: 'vision_config' | 'text_config'): JsonObject {
  const config = folder.config[key];
  return needed(isJsonObject(config) ? config : undefined, folder.path, key);
}

function needed<T>(value: T | undefined, path: string, what: string): T {
  if (value === undefined) throw new QuerentError('QRT_CONFIG_INVALID', `${path} has no ${what}, which this recipe needs.`, { fix: 'Begin with a folder that stage 1 (retrieval) or stage 2 (captions) has trained.' });
  return value;
}
