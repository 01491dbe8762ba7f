/**
 * Two caches over the same views of the same pictures (`views.ts`): what a frozen encoder makes of them, and their pixels at
 * another encoder's size. Both cut each view with the same draws, so row (image, view) of one belongs to row (image, view)
 * of the other. A feature cache of annotated pictures is the one that the bridge's recipes use: it is computed once for both.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { EncoderConfig, EncoderPlugin, Executable, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import type { ImageProcessor, RawImage } from '@querent/images';
import { decodeImage } from '@querent/images';
import type { FeatureCache, FeatureCacheOptions } from './feature-cache.ts';
import { openFeatureCache } from './feature-cache.ts';
import type { PictureList } from './picture-sources.ts';
import type { ViewOptions } from './views.ts';
import { imageViews } from './views.ts';

export interface ViewCacheOptions {
  readonly pictures: PictureList;
  readonly views: ViewOptions;
  readonly processor: ImageProcessor;
  readonly cacheFolder: string;
  readonly onProgress: NonNullable<FeatureCacheOptions['onProgress']>;
  readonly signal?: AbortSignal;
}

export interface CachedEncoder {
  readonly plugin: EncoderPlugin;
  readonly config: EncoderConfig;
  /** The config as its folder has it: names the cache. */
  readonly folderConfig: object;
  /** `pixel_values` [batch, 3, height, width] → `features` [batch, patches, width]. */
  readonly executable: Executable;
}

/** The encoder's features: rows [patches, width]. @throws QuerentError QRT_IMAGE, QRT_FILE, QRT_PLUGIN_INVALID */
export function openViewFeatures(encoder: CachedEncoder, options: ViewCacheOptions): Promise<FeatureCache> {
  const key = keyOf([encoder.folderConfig, options.views, options.pictures.filenames]);
  return openViews(options, join(options.cacheFolder, `features-${key}.f16`), encoder.plugin.patches(encoder.config), encoder.plugin.width(encoder.config), async (picture, index) => {
    const { features } = await encoder.executable.run({ pixel_values: imageViews(picture, options.processor, options.views, index) });
    return (features as TensorData<'float32'>).data; // the encoder's output is float32
  });
}

/** RGB levels 0 … 255, which fp16 holds exactly: rows [height, width * 3]. @throws QuerentError QRT_IMAGE, QRT_FILE */
export function openViewPixels(options: ViewCacheOptions): Promise<FeatureCache> {
  const { width, height, config } = options.processor;
  const key = keyOf([config, options.views, options.pictures.filenames]);
  const levels: ImageProcessor = { ...options.processor, normalize: copyLevels };
  return openViews(options, join(options.cacheFolder, `pixels-${key}.f16`), height, width * 3, async (picture, index) => imageViews(picture, levels, options.views, index).data);
}

function openViews(
  { pictures, views, onProgress, signal }: ViewCacheOptions,
  file: string,
  patches: number,
  width: number,
  compute: (picture: RawImage, index: number) => Promise<Float32Array>,
): Promise<FeatureCache> {
  return openFeatureCache({
    file,
    images: pictures.filenames.length,
    views: views.count,
    patches,
    width,
    compute: async (index) => compute(await decodeImage(join(pictures.folder, pictures.filenames[index]!)), index),
    onProgress,
    ...(signal === undefined ? {} : { signal }),
  });
}

/** Stands where normalisation stands: the levels as they are, interleaved. */
function copyLevels({ data }: RawImage, into: Float32Array = new Float32Array(data.length)): Float32Array {
  into.set(data);
  return into;
}

function keyOf(parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}

/** @throws QuerentError QRT_CONFIG_INVALID when one of two processors leaves out what the other one shows. */
export function assertSameView(a: ImageProcessor, b: ImageProcessor): void {
  const isWhole = ({ config }: ImageProcessor): boolean => config.do_resize === true && config.do_center_crop !== true;
  if (isWhole(a) && isWhole(b)) return;
  throw new QuerentError('QRT_CONFIG_INVALID', 'Teacher and student do not see the same picture: one of them crops what it reads.', {
    fix: 'Take encoders whose preprocessing resizes the whole picture (do_resize, no do_center_crop).',
  });
}
