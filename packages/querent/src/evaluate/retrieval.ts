/**
 * Retrieval on an annotated set, as BLIP-2 reports it: every image with every caption by contrast (ITC); then the best
 * candidates again by the matching head (ITM). What `querent evaluate retrieval` prints.
 */
import { join } from 'node:path';
import type { TensorData } from '@querent/core';
import { QuerentError, from, mapBatches, mapBounded, isFailure } from '@querent/core';
import type { CaptionedImage, RetrievalFigures } from '@querent/evaluation';
import { recallAtK } from '@querent/evaluation';
import { similarities } from '@querent/tasks';
import type { VisionLanguageModel } from '../vision-language-model.ts';
import type { EvaluateOptions } from './captions.ts';

export interface RetrievalOptions extends EvaluateOptions {
  /** Captions of each image that the matching head reads again; of each caption as large a share of the images. Default 128. */
  readonly rerank?: number;
}

/** Recall in percent: by ITC alone, and re-ranked by ITM. */
export interface RetrievalEvaluation {
  readonly itc: RetrievalFigures;
  readonly itm: RetrievalFigures;
}

const RERANK = 128;
const TEXT_BATCH = 128;
const IMAGE_BATCH = 16;
/** Pairs of one run of the matching head. */
const PAIR_BATCH = 256;
/** How far below the pairs that were read again the others stand: more than any two scores differ. */
const BEHIND = 1e6;

export async function evaluateRetrievalModel(
  model: VisionLanguageModel,
  images: readonly CaptionedImage[],
  imageFolder: string,
  options: RetrievalOptions = {},
): Promise<RetrievalEvaluation> {
  const texts = images.flatMap(({ sentences }) => sentences.map(({ raw }) => raw));
  const imageOfText = images.flatMap(({ sentences }, image) => sentences.map(() => image));
  const features = await encodeAll(model, images, imageFolder, options);
  const cosine = await contrast(model, features, texts, options);
  const itc = recallAtK({ values: cosine, imageOfText, images: images.length });
  const values = await rerank(model, features, texts, cosine, options);
  return { itc, itm: recallAtK({ values, imageOfText, images: images.length }) };
}

/** Features of each image, float32 [patches, width]. An image that cannot be read fails the evaluation: there is no empty image. */
async function encodeAll(model: VisionLanguageModel, images: readonly CaptionedImage[], folder: string, options: RetrievalOptions): Promise<TensorData<'float32'>[]> {
  const { signal } = options;
  const all: TensorData<'float32'>[] = [];
  const given = signal === undefined ? {} : { signal };
  const source = from(images.map(({ filename }) => join(folder, filename)), given).pipe(
    mapBounded((path: string, context) => model.prepare(path, { signal: context.signal }), { concurrency: 4, onError: 'item' }),
    mapBatches<string, TensorData<'float32'>, TensorData<'float32'>>(
      async (pixels, context) => rowsOf(await model.encode(pixels, { signal: context.signal })),
      { size: IMAGE_BATCH },
    ),
  );
  for await (const result of source) {
    if (isFailure(result)) throw result.error;
    all.push(result.value);
    options.onProgress?.({ what: 'images', done: all.length, total: images.length });
  }
  return all;
}

function rowsOf(batch: TensorData<'float32'>): TensorData<'float32'>[] {
  const [rows = 0, ...shape] = batch.shape;
  const size = batch.data.length / Math.max(1, rows);
  return Array.from({ length: rows }, (_, row) => ({ dtype: 'float32', shape, data: batch.data.slice(row * size, (row + 1) * size) }));
}

function stackRows(rows: readonly TensorData<'float32'>[]): TensorData<'float32'> {
  const [first] = rows;
  if (first === undefined) throw new QuerentError('QRT_USAGE', 'There are no images to compare.', { fix: 'Name a split that has some.' });
  const data = new Float32Array(first.data.length * rows.length);
  rows.forEach((row, i) => data.set(row.data, i * first.data.length));
  return { dtype: 'float32', shape: [rows.length, ...first.shape], data };
}

/** Largest cosine of each image's queries with each text: row-major [images, texts]. */
async function contrast(model: VisionLanguageModel, features: readonly TensorData<'float32'>[], texts: readonly string[], { signal, onProgress }: RetrievalOptions): Promise<Float32Array> {
  const call = signal === undefined ? {} : { signal };
  const vectors: TensorData<'float32'>[] = [];
  for (let at = 0; at < features.length; at += IMAGE_BATCH) vectors.push(...rowsOf(await model.embedImages(stackRows(features.slice(at, at + IMAGE_BATCH)), call)));
  const images = stackRows(vectors);
  const table = new Float32Array(features.length * texts.length);
  for (let at = 0; at < texts.length; at += TEXT_BATCH) {
    const some = texts.slice(at, at + TEXT_BATCH);
    similarities(images, await model.embedTexts(some, call)).forEach((row, image) => table.set(row, image * texts.length + at));
    onProgress?.({ what: 'texts', done: Math.min(texts.length, at + TEXT_BATCH), total: texts.length });
  }
  return table;
}

/** The score of the matching head for the best candidates of each image and of each caption; the others stay behind them, as the contrast has them. */
async function rerank(
  model: VisionLanguageModel,
  features: readonly TensorData<'float32'>[],
  texts: readonly string[],
  cosine: Float32Array,
  { rerank: k = RERANK, signal, onProgress }: RetrievalOptions,
): Promise<Float64Array> {
  const chosen = candidates(cosine, features.length, texts.length, k);
  const scores = Float64Array.from(cosine, (value) => value - BEHIND);
  let done = 0;
  const total = chosen.reduce((sum, row) => sum + row.length, 0);
  for (const [image, columns] of chosen.entries()) {
    const row = features[image];
    if (row === undefined) continue;
    const one = stackRows([row]);
    for (let at = 0; at < columns.length; at += PAIR_BATCH) {
      signal?.throwIfAborted();
      const some = columns.slice(at, at + PAIR_BATCH);
      const cells = some.map((text) => image * texts.length + text);
      const similarities = Float32Array.from(cells, (cell) => cosine[cell] ?? 0);
      const read = await model.rerank(one, some.map((text) => texts[text] ?? ''), similarities, { images: some.map(() => 0), ...(signal === undefined ? {} : { signal }) });
      cells.forEach((cell, i) => (scores[cell] = read.scores[i] ?? -BEHIND));
      done += some.length;
      onProgress?.({ what: 'pairs', done, total });
    }
  }
  return scores;
}

/** For each image the texts to read again: its own best `k`, and those that have it among the same share of their images. */
function candidates(cosine: Float32Array, images: number, texts: number, k: number): number[][] {
  const chosen = Array.from({ length: images }, () => new Set<number>());
  for (let image = 0; image < images; image++) for (const text of largest(k, texts, (column) => cosine[image * texts + column] ?? 0)) chosen[image]?.add(text);
  const perText = Math.max(1, Math.ceil((k * images) / texts));
  for (let text = 0; text < texts; text++) for (const image of largest(perText, images, (row) => cosine[row * texts + text] ?? 0)) chosen[image]?.add(text);
  return chosen.map((set) => [...set]);
}

/** Indices of the `k` largest values. */
function largest(k: number, count: number, value: (index: number) => number): number[] {
  return Array.from({ length: count }, (_, index) => index).sort((a, b) => value(b) - value(a)).slice(0, k);
}
