/** Captions of an annotated set, scored: what `querent evaluate caption` prints. */
import { join } from 'node:path';
import { validate } from '@querent/core';
import type { LoadedModel, MetricPlugin } from '@querent/core';
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
  /** Metrics of plugins, over the captions and the images' sentences, beside the usual ones. */
  readonly metrics?: readonly MetricPlugin[];
  /** Their configs, by name: `{ METEOR: { data: 'DIR' } }`. Checked by their `configSchema` before anything is captioned. */
  readonly metricConfigs?: Readonly<Record<string, unknown>>;
}

/** The figures, under their published names, and how fast it went: decoding, encoding and generating together. */
export interface CaptionEvaluation extends CaptionFigures {
  readonly imagesPerSecond: number;
  /** Figures of `metrics`, by metric and figure. */
  readonly more?: Readonly<Record<string, Readonly<Record<string, number>>>>;
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
  const metrics = (options.metrics ?? []).map((metric) => ({ metric, config: configOf(metric, options) })); // mistakes are told before the captions are written
  const { predictions, imagesPerSecond } = await captionImages(model, images, imageFolder, how, options);
  const figures = { ...evaluateCaptions(predictions, images), imagesPerSecond };
  if (metrics.length === 0) return figures;
  const judged = images.map(({ filename, sentences }) => ({ id: filename, prediction: predictions.get(filename) ?? '', reference: sentences.map(({ raw }) => raw) }));
  const more: Record<string, Readonly<Record<string, number>>> = {};
  for (const { metric, config } of metrics) more[metric.name] = (await metric.evaluate(judged, config, options.signal === undefined ? {} : { signal: options.signal })).figures;
  return { ...figures, more };
}

/** @throws QuerentError QRT_CONFIG_INVALID when the metric's schema does not take what it is given. */
function configOf({ name, configSchema }: MetricPlugin, { metricConfigs }: EvaluateOptions): unknown {
  const given = metricConfigs?.[name] ?? {};
  return configSchema === undefined ? given : validate<unknown>(configSchema, given, { what: `the config of the metric ${name}` });
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
