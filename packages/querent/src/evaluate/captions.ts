/** Captions of an annotated set, scored: what `querent evaluate caption` prints. */
import { join } from 'node:path';
import type { LoadedModel } from '@querent/core';
import { evaluateCaptions } from '@querent/evaluation';
import type { CaptionFigures, CaptionedImage } from '@querent/evaluation';
import { pipeline } from '../pipeline.ts';

/** How far an evaluation is. */
export interface EvaluateProgress {
  readonly what: string;
  readonly done: number;
  readonly total: number;
}

export interface EvaluateOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: EvaluateProgress) => void;
  /** An image that cannot be captioned: it counts as an empty caption, which scores 0. */
  readonly onImageError?: (filename: string, error: Error) => void;
}

/** The figures, under their published names, and how fast it went: decoding, encoding and generating together. */
export interface CaptionEvaluation extends CaptionFigures {
  readonly imagesPerSecond: number;
}

/**
 * Captions every image and scores the captions against its sentences.
 *
 * @param imageFolder the folder that the images' file names are relative to
 * @param how decoding options of all captions, for instance `{ numBeams: 5 }`
 */
export async function evaluateCaptionModel(
  model: LoadedModel,
  images: readonly CaptionedImage[],
  imageFolder: string,
  how: Readonly<Record<string, unknown>> = {},
  options: EvaluateOptions = {},
): Promise<CaptionEvaluation> {
  const { predictions, imagesPerSecond } = await captionImages(model, images, imageFolder, how, options);
  return { ...evaluateCaptions(predictions, images), imagesPerSecond };
}

/** A caption of each image, by file name; an empty one where it could not be read. */
export async function captionImages(
  model: LoadedModel,
  images: readonly CaptionedImage[],
  imageFolder: string,
  how: Readonly<Record<string, unknown>> = {},
  options: EvaluateOptions = {},
): Promise<{ readonly predictions: ReadonlyMap<string, string>; readonly imagesPerSecond: number }> {
  await using caption = await pipeline('caption', { model });
  const predictions = new Map<string, string>();
  const started = performance.now();
  const requests = images.map(({ filename }) => ({ ...how, image: join(imageFolder, filename) }));
  let done = 0;
  for await (const { text, error } of caption(requests, options.signal === undefined ? {} : { signal: options.signal })) {
    const filename = images[done]?.filename ?? ''; // a flow keeps the order
    done++;
    if (error !== undefined) options.onImageError?.(filename, error);
    predictions.set(filename, text ?? '');
    options.onProgress?.({ what: 'captions', done, total: images.length });
  }
  options.signal?.throwIfAborted();
  const seconds = (performance.now() - started) / 1000;
  return { predictions, imagesPerSecond: images.length / seconds };
}
