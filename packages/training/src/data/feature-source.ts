/**
 * Where a run's image features come from: a cache, when the encoder is frozen, or an encoder inside the training graph,
 * when it learns too. Stages 1 and 2 and fine-tuning differ in this and in nothing else.
 */
import { join } from 'node:path';
import type { EncoderConfig, EncoderPlugin, GraphScope, Tensor, TensorData } from '@querent/core';
import type { ImageProcessor, Random } from '@querent/images';
import { augment, decodeImage } from '@querent/images';
import type { AnnotatedImage } from './annotations.ts';
import { randomAt } from './batches.ts';
import type { FeatureCache } from './feature-cache.ts';

export interface FeatureSource {
  /**
   * Adds the features to a graph: float32 [rows, patches, width]. Other inputs take their first dim from it.
   *
   * @param rows name of the first dim, where it is not a number. Default `batch`.
   */
  features(g: GraphScope, rows?: string): Tensor;
  /** What to feed for these images; all draws are made before it returns. */
  feed(images: readonly number[], random: Random): Promise<Readonly<Record<string, TensorData>>>;
  /** The mean over the patches of each image as it is: float32 [images, width]. Only where features are cached. */
  pooled?(images: readonly number[]): Promise<Float32Array>;
}

/**
 * Cached features, each image in a view drawn at random: input `features`.
 *
 * @param dropPatches share of the patches that are covered by another patch of the same image. Default 0.
 */
export function cachedFeatures(cache: FeatureCache, dropPatches = 0): FeatureSource {
  const { patches, width } = cache;
  return {
    features: (g, rows = 'batch') => g.input('features', 'float32', [rows, patches, width]),
    feed: async (images, random) => {
      const views = images.map(() => random.int(cache.views));
      const seed = dropPatches > 0 ? random.int(2 ** 31) : 0; // drawn before anything is awaited
      const features = await cache.read(images, views);
      if (dropPatches > 0) coverPatches(features.data, patches, width, dropPatches, randomAt(seed));
      return { features };
    },
    pooled: async (images) => {
      const means = new Float32Array(images.length * width);
      for (let start = 0; start < images.length; start += POOLED_AT_ONCE) {
        const some = images.slice(start, start + POOLED_AT_ONCE);
        const { data } = await cache.read(some, some.map(() => 0));
        for (let i = 0; i < data.length; i++) means[(start + Math.floor(i / (patches * width))) * width + (i % width)]! += data[i]! / patches;
      }
      return means;
    },
  };
}

const POOLED_AT_ONCE = 64;

/**
 * Covers patches instead of setting them to zero: a row of zeros is nothing that an encoder would give. A model that must
 * do without a fifth of a picture learns its six thousand training pictures less by heart.
 */
function coverPatches(data: Float32Array, patches: number, width: number, share: number, random: Random): void {
  for (let row = 0; row < data.length; row += width) {
    if (random.next() >= share) continue;
    const image = row - (row % (patches * width));
    const other = image + random.int(patches) * width;
    data.copyWithin(row, other, other + width);
  }
}

/** How pictures are varied from step to step. */
export interface AugmentationOptions {
  /** Least and greatest part of the area that a crop keeps. */
  readonly scale: readonly [number, number];
  /** Chance that left and right are swapped. Default 0.5. */
  readonly flip?: number;
}

export interface EncodedPicturesOptions {
  readonly plugin: EncoderPlugin;
  readonly config: EncoderConfig;
  readonly processor: ImageProcessor;
  /** Where the encoder's parameters stand in the checkpoint. */
  readonly scope: string;
  /** Pictures a batch: a number in the graph, because gradients of grouped convolutions need it. */
  readonly batch: number;
  readonly images: readonly AnnotatedImage[];
  readonly imageFolder: string;
  readonly augment: AugmentationOptions;
}

/** Pictures, cropped and flipped anew at each step and encoded within the graph: input `pixel_values`. */
export function encodedPictures(options: EncodedPicturesOptions): FeatureSource {
  const { processor, batch } = options;
  const { width, height } = processor;
  const size = 3 * width * height;
  return {
    features: (g) => {
      const pixels = g.input('pixel_values', 'float32', [batch, 3, height, width]);
      return options.plugin.build(g.scope(options.scope), pixels, options.config).lastHiddenState;
    },
    feed: async (images, random) => {
      // One seed a picture, drawn in order: decoding may finish in any.
      const seeds = images.map(() => random.int(2 ** 31));
      const data = new Float32Array(images.length * size);
      await Promise.all(
        images.map(async (image, i) => {
          const picture = await decodeImage(join(options.imageFolder, options.images[image]!.filename));
          const view = augment(picture, { width, height, ...options.augment }, randomAt(seeds[i]!));
          processor.normalize(view, data.subarray(i * size, (i + 1) * size));
        }),
      );
      return { pixel_values: { dtype: 'float32', shape: [images.length, 3, height, width], data } };
    },
  };
}
