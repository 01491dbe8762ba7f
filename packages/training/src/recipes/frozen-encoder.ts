/** A frozen encoder as recipes use it: from its folder to a graph and weights, and the wait for a cache of what it makes of pictures. */
import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { EncoderConfig, EncoderPlugin, Graph, ParameterSet } from '@querent/core';
import { validate } from '@querent/core';
import { createGraph } from '@querent/graph';
import { loadTensors, openModelFolder } from '@querent/hub';
import type { JsonObject, ModelFolder } from '@querent/hub';
import type { ImageProcessor } from '@querent/images';
import { createImageProcessor } from '@querent/images';
import type { FeatureCache } from '../data/feature-cache.ts';
import type { PictureList } from '../data/picture-sources.ts';
import { openViewFeatures } from '../data/view-caches.ts';
import type { ViewCacheOptions } from '../data/view-caches.ts';
import type { ViewOptions } from '../data/views.ts';
import type { RecipeEvent, TrainRecipeOptions, TrainingPlugins } from '../train-recipe.ts';
import { fromOf } from './bridge-parts.ts';

/** How a recipe names its encoder. */
export interface EncoderChoice {
  /** Folder of the frozen encoder. */
  readonly encoder: string;
  /** What its config is to say otherwise, for instance a larger `image_size`. The trained folder says so too. */
  readonly encoder_config?: JsonObject;
}

export const encoderChoiceProperties = {
  encoder: { type: 'string', description: 'The folder of the frozen encoder, relative to the recipe.' },
  encoder_config: { type: 'object', description: "What the encoder's config is to say otherwise than its folder: a larger image_size of a convolutional one, for instance." },
} as const;

/** The folder that a recipe names, its config as the recipe wants it. */
export async function openChosenEncoder({ encoder, encoder_config: otherwise }: EncoderChoice, recipeFolder: string): Promise<ModelFolder> {
  const folder = await openModelFolder(resolve(recipeFolder, encoder));
  return { ...folder, config: { ...folder.config, ...otherwise } };
}

/** The `vision_config` of a trained folder `out`: where the encoder is, and what its config says otherwise. */
export function visionConfigOf({ encoder, encoder_config: otherwise }: EncoderChoice, recipeFolder: string, out: string): JsonObject {
  return { from: fromOf(out, resolve(recipeFolder, encoder)), ...otherwise };
}

export interface Encoder {
  readonly plugin: EncoderPlugin;
  readonly config: EncoderConfig;
  readonly processor: ImageProcessor;
}

/** The encoder that a config asks for. @throws QuerentError QRT_CONFIG_INVALID when the config does not fit the family's schema. */
export function encoderOf(given: JsonObject, plugins: TrainingPlugins): Encoder {
  const plugin = plugins.encoder(String(given['model_type']));
  const config: EncoderConfig = { ...plugin.defaults, ...validate<object>(plugin.configSchema, given, { what: `the config of the ${plugin.name} encoder` }) };
  return { plugin, config, processor: createImageProcessor(plugin.preprocess(config)) };
}

/** The encoder of a folder with its weights: of the checkpoint, or of the file that its config names (an `.onnx` file). In memory rather than mapped: engines may then lay them out for speed. */
export async function openEncoder({ path, config: given, parameters }: ModelFolder, plugins: TrainingPlugins): Promise<{ readonly encoder: Encoder; readonly weights: ParameterSet }> {
  const encoder = encoderOf(given, plugins);
  const stored = await loadTensors(parameters);
  if (encoder.plugin.open === undefined) return { encoder, weights: stored };
  const { encoder: plugin, parameters: own } = await encoder.plugin.open(encoder.config, path);
  return { encoder: { ...encoder, plugin }, weights: new Map([...stored, ...own]) };
}

/** `pixel_values` [batch, 3, height, width] → `features` [batch, patches, width]. */
export function encoderGraph({ plugin, config, processor }: Encoder): Graph {
  const g = createGraph('encoder');
  g.output('features', plugin.build(g, g.input('pixel_values', 'float32', ['batch', 3, processor.height, processor.width]), config).lastHiddenState);
  return g.graph;
}

/** Waits for a cache and hands on how far it is; who leaves meanwhile stops the computing. */
export async function* watched(
  what: string,
  signal: AbortSignal | undefined,
  open: (watch: Pick<ViewCacheOptions, 'onProgress' | 'signal'>) => Promise<FeatureCache>,
): AsyncGenerator<RecipeEvent, FeatureCache> {
  const progress: RecipeEvent[] = [];
  const leaving = new AbortController();
  const opening = open({
    onProgress: (done, total) => progress.push({ type: 'prepare', what, done, total }),
    signal: signal === undefined ? leaving.signal : AbortSignal.any([signal, leaving.signal]),
  });
  let isSettled = false;
  const settled = opening.then(() => undefined, () => undefined).then(() => { isSettled = true; });
  let isLeft = true;
  try {
    while (!isSettled) {
      await Promise.race([settled, new Promise((wake) => setTimeout(wake, 500))]);
      const latest = progress.splice(0).at(-1);
      if (latest !== undefined) yield latest;
    }
    isLeft = false;
    return await opening;
  } finally {
    if (isLeft) {
      leaving.abort();
      await opening.then((cache) => cache.close(), () => undefined); // what was computed stays on disk
    }
  }
}

/** The features of pictures, from the cache or computed now: opens the folder's encoder for it. @throws QuerentError QRT_FILE, QRT_IMAGE, and what the encoder's `open` does. */
export async function* cachedPictures(folder: ModelFolder, views: ViewOptions, pictures: PictureList, options: TrainRecipeOptions): AsyncGenerator<RecipeEvent, FeatureCache> {
  const { encoder, weights } = await openEncoder(folder, options.plugins);
  await using executable = await options.engine.compile(encoderGraph(encoder), weights);
  const { cacheFolder } = options;
  await mkdir(cacheFolder, { recursive: true });
  return yield* watched('features', options.signal, (watch) => openViewFeatures({ ...encoder, folderConfig: folder.config, executable }, { ...watch, pictures, views, processor: encoder.processor, cacheFolder }));
}
