/**
 * From RGB pixels to what an encoder reads: resize, centre crop, rescale, normalise, as HuggingFace's image processors do
 * with Pillow; the 8-bit picture in between is equal to theirs. The config is read in `processor-config.ts`, the resampling
 * is in `resample.ts`.
 */
import { QuerentError, float32 } from '@querent/core';
import type { TensorData } from '@querent/core';
import { planProcessor } from './processor-config.ts';
import { MAX_SIDE, crop, resize, resizeAsync } from './resample.ts';
import type { PreprocessorConfig, ProcessorPlan, Side } from './processor-config.ts';
import type { RawImage } from './raw-image.ts';
import type { Filter } from './resample-coefficients.ts';

/** Made by {@link createImageProcessor}; holds no memory beyond its tables, and may be shared. */
export interface ImageProcessor {
  readonly config: PreprocessorConfig;
  /** Size of the output in pixels. */
  readonly width: number;
  readonly height: number;
  /** Resized and cropped, still uint8 RGB: what is worth caching. May be `image` itself. */
  pixels(image: RawImage): RawImage;
  /** Rescaled and normalised, for a picture that already has the output's size: float32 `[3, height, width]`. */
  normalize(pixels: RawImage, into?: Float32Array): Float32Array;
  /** `normalize(pixels(image))`: float32 `[3, height, width]`. */
  process(image: RawImage): Float32Array;
  /** As `process`, but lets other work run every few milliseconds of a large picture; an abort rejects with the signal's reason. */
  processAsync(image: RawImage, options?: { readonly signal?: AbortSignal; readonly into?: Float32Array }): Promise<Float32Array>;
  /**
   * float32 `[batch, 3, height, width]`. `into` is filled from its start and used as the tensor's memory when given:
   * reuse it between batches once the last one is done with.
   * @throws QuerentError QRT_USAGE when `into` is too small.
   */
  batch(images: readonly RawImage[], into?: Float32Array): TensorData<'float32'>;
}

/**
 * The processor that a `preprocessor_config.json` describes.
 * @throws QuerentError QRT_CONFIG_INVALID when a value is missing or unusable.
 * @example
 * const processor = createImageProcessor(config);
 * const pixelValues = processor.batch([await decodeImage('photo.jpg')]);
 */
export function createImageProcessor(config: PreprocessorConfig): ImageProcessor {
  const plan = planProcessor(config);
  const { width, height } = plan.output;
  const size = 3 * width * height;

  const pixels = (image: RawImage): RawImage => cropToOutput(resizeByPlan(image, plan), plan);
  const normalize = (image: RawImage, into: Float32Array = new Float32Array(size)): Float32Array => {
    if (image.width !== width || image.height !== height || image.data.length !== size) {
      throw new QuerentError('QRT_USAGE', `The picture is ${image.width} × ${image.height}, the encoder reads ${width} × ${height}.`, {
        fix: 'Call process(), or pixels() first.',
        details: { width: image.width, height: image.height },
      });
    }
    if (into.length < size) throw tooSmall(into.length, size);
    writeLevels(image.data, plan.levels, into);
    return into;
  };
  return {
    config,
    width,
    height,
    pixels,
    normalize,
    process: (image) => normalize(pixels(image)),
    processAsync: async (image, options = {}) => {
      const target = planResize(image, plan);
      const resized = target ? await resizeAsync(image, target.width, target.height, { filter: target.filter, ...options }) : image;
      return normalize(cropToOutput(resized, plan), options.into);
    },
    batch: (images, into = new Float32Array(images.length * size)) => {
      if (into.length < images.length * size) throw tooSmall(into.length, images.length * size);
      for (const [i, image] of images.entries()) normalize(pixels(image), into.subarray(i * size, (i + 1) * size));
      return float32([images.length, 3, height, width], into.subarray(0, images.length * size));
    },
  };
}

/** Where the resize goes to: with a shortest edge, the other one is cut to an integer, not rounded (HF). */
export function resizeTarget(image: Side, to: Side | { readonly shortestEdge: number }): Side {
  if ('width' in to) return to;
  const edge = to.shortestEdge;
  return image.width <= image.height
    ? { width: edge, height: Math.trunc((edge * image.height) / image.width) }
    : { width: Math.trunc((edge * image.width) / image.height), height: edge };
}

function planResize(image: RawImage, plan: ProcessorPlan): (Side & { readonly filter: Filter }) | undefined {
  if (!plan.resize) return undefined;
  const { width, height } = resizeTarget(image, plan.resize.to);
  if (Math.max(width, height) > MAX_SIDE) {
    throw new QuerentError('QRT_IMAGE', `A picture of ${image.width} × ${image.height} would be resized to ${width} × ${height}: it is too narrow.`, {
      fix: 'Cut the picture into parts.',
      details: { width: image.width, height: image.height },
    });
  }
  return { width, height, filter: plan.resize.filter };
}

function resizeByPlan(image: RawImage, plan: ProcessorPlan): RawImage {
  const target = planResize(image, plan);
  return target ? resize(image, target.width, target.height, { filter: target.filter }) : image;
}

/** The middle of the picture; what is smaller than the crop gets a black rim (HF `center_crop`). */
function cropToOutput(image: RawImage, plan: ProcessorPlan): RawImage {
  if (!plan.crop) return image;
  const { width, height } = plan.crop;
  return crop(image, Math.floor((image.width - width) / 2), Math.floor((image.height - height) / 2), width, height);
}

/** Interleaved bytes to planes of floats, one table look-up a pixel. */
function writeLevels(data: Uint8Array, [red, green, blue]: ProcessorPlan['levels'], into: Float32Array): void {
  const plane = data.length / 3;
  for (let i = 0, from = 0; i < plane; i++, from += 3) {
    into[i] = red[data[from]!]!;
    into[plane + i] = green[data[from + 1]!]!;
    into[2 * plane + i] = blue[data[from + 2]!]!;
  }
}

function tooSmall(length: number, needed: number): QuerentError {
  return new QuerentError('QRT_USAGE', `\`into\` holds ${length} floats, ${needed} are needed.`, { details: { length, needed } });
}
