/** Image–caption pairs: what stages 1 and 2 and fine-tuning are fed from. */
import type { TensorData } from '@querent/core';
import type { Random } from '@querent/images';
import type { AnnotatedImage } from './annotations.ts';
import type { TextEncoder } from './encode-text.ts';
import type { TokenCorpus } from './encode-text.ts';
import { tokenCorpus } from './encode-text.ts';
import { normaliseCaption } from './text.ts';

export interface CaptionPairs {
  readonly images: readonly AnnotatedImage[];
  readonly corpus: TokenCorpus;
  /** Image of a pair. */
  imageOf(pair: number): number;
  /** Pairs of an image. */
  pairsOf(image: number): readonly number[];
}

/** All (image, caption) pairs, captions normalised and encoded without special tokens, at most `maxTokens` long. */
export function captionPairs(images: readonly AnnotatedImage[], encode: TextEncoder, maxTokens: number): CaptionPairs {
  const owners: number[] = [];
  const pairs: number[][] = images.map(() => []);
  const texts: (readonly number[])[] = [];
  images.forEach((image, i) => {
    for (const caption of image.captions) {
      const ids = encode(normaliseCaption(caption)).slice(0, maxTokens);
      if (ids.length < 3) continue; // "broken image" and its like teach nothing
      pairs[i]!.push(texts.length);
      owners.push(i);
      texts.push(ids);
    }
  });
  return { images, corpus: tokenCorpus(texts), imageOf: (pair) => owners[pair]!, pairsOf: (image) => pairs[image]! };
}

/** -log(-log u): argmax(scores + this) draws from softmax(scores). */
export function gumbelNoise(rows: number, columns: number, random: Random): TensorData<'float32'> {
  const data = new Float32Array(rows * columns);
  for (let i = 0; i < data.length; i++) data[i] = -Math.log(-Math.log(Math.max(random.next(), 1e-12)) + 1e-12);
  return { dtype: 'float32', shape: [rows, columns], data };
}
