/** The views of a photograph whose features are cached: the picture as it is, then random crops and flips of it. */
import type { JsonSchema, TensorData } from '@querent/core';
import type { ImageProcessor, RawImage } from '@querent/images';
import { augment } from '@querent/images';
import { randomAt } from './batches.ts';

export interface ViewOptions {
  /** Views in all; the first is the picture as it is. */
  readonly count: number;
  readonly seed: number;
  /** Least and greatest part of the area that a crop keeps. */
  readonly scale: readonly [number, number];
}

export const viewOptionsSchema: JsonSchema = {
  type: 'object',
  description: 'How many views of each photograph are cached, and how they are drawn.',
  properties: {
    count: { type: 'integer', minimum: 1, maximum: 64 },
    seed: { type: 'integer', minimum: 0 },
    scale: { type: 'array', items: { type: 'number', exclusiveMinimum: 0, maximum: 1 }, minItems: 2, maxItems: 2 },
  },
  required: ['count', 'seed', 'scale'],
  additionalProperties: false,
};

/** float32 [views, 3, height, width], normalised. Depends on the image's index and the seed alone. */
export function imageViews(image: RawImage, processor: ImageProcessor, options: ViewOptions, index: number): TensorData<'float32'> {
  const random = randomAt(options.seed, index);
  const { width, height } = processor;
  const size = 3 * width * height;
  const data = new Float32Array(options.count * size);
  for (let view = 0; view < options.count; view++) {
    const into = data.subarray(view * size, (view + 1) * size);
    const pixels = view === 0 ? processor.pixels(image) : augment(image, { width, height, scale: options.scale }, random);
    processor.normalize(pixels, into);
  }
  return { dtype: 'float32', shape: [options.count, 3, height, width], data };
}
