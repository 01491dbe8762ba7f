/** Recall@k of image–text retrieval, as it is reported on Flickr and COCO: images with several captions, both directions. */
import { QuerentError } from '@querent/core';

/** Which share of the queries finds a right answer among the first 1, 5, 10: in percent. */
export interface RecallFigures {
  readonly r1: number;
  readonly r5: number;
  readonly r10: number;
}

export interface RetrievalFigures {
  /** Image → text: an image counts when any of its captions is within the first k. */
  readonly i2t: RecallFigures;
  /** Text → image: a caption counts when its image is within the first k. */
  readonly t2i: RecallFigures;
}

/** How well each image and caption fit. */
export interface SimilarityMatrix {
  /** Row-major [images, texts]; larger is more alike. -Infinity stands for a pair that was not looked at. */
  readonly values: ArrayLike<number>;
  /** int [texts]: the image that each caption belongs to. */
  readonly imageOfText: ArrayLike<number>;
  readonly images: number;
}

function figures(ranks: readonly number[]): RecallFigures {
  const within = (k: number): number => (100 * ranks.filter((rank) => rank < k).length) / ranks.length;
  return { r1: within(1), r5: within(5), r10: within(10) };
}

/**
 * Recall at 1, 5 and 10 in both directions. A wrong answer that scores the same as the right one goes before it, so that a
 * model which gives everything one score finds nothing.
 *
 * @throws QuerentError QRT_USAGE when the sizes do not fit, a caption's image is out of range, an image has no caption, or a
 * value is NaN.
 */
export function recallAtK({ values, imageOfText, images }: SimilarityMatrix): RetrievalFigures {
  const texts = imageOfText.length;
  assertMatrix(values, imageOfText, images);
  const at = (image: number, text: number): number => values[image * texts + text] ?? Number.NEGATIVE_INFINITY;

  const imageRanks = Array.from({ length: images }, (_, image) => {
    let best = Number.NEGATIVE_INFINITY;
    for (let text = 0; text < texts; text += 1) if (imageOfText[text] === image) best = Math.max(best, at(image, text));
    let before = 0;
    for (let text = 0; text < texts; text += 1) if (imageOfText[text] !== image && at(image, text) >= best) before += 1;
    return before;
  });
  const textRanks = Array.from({ length: texts }, (_, text) => {
    const own = imageOfText[text] ?? 0;
    const score = at(own, text);
    let before = 0;
    for (let image = 0; image < images; image += 1) if (image !== own && at(image, text) >= score) before += 1;
    return before;
  });
  return { i2t: figures(imageRanks), t2i: figures(textRanks) };
}

function assertMatrix(values: ArrayLike<number>, imageOfText: ArrayLike<number>, images: number): void {
  const refuse = (what: string): never => {
    throw new QuerentError('QRT_USAGE', `recallAtK: ${what}`, {
      fix: 'Give a row an image and a column a caption, and for each caption the index of its image.',
      details: { values: values.length, texts: imageOfText.length, images },
    });
  };
  if (!Number.isInteger(images) || images < 1 || imageOfText.length === 0) refuse(`it needs at least one image and one caption, not ${images} and ${imageOfText.length}.`);
  if (values.length !== images * imageOfText.length) {
    refuse(`${images} images and ${imageOfText.length} captions need ${images * imageOfText.length} similarities, there are ${values.length}.`);
  }
  const hasCaption = new Uint8Array(images);
  for (let text = 0; text < imageOfText.length; text += 1) {
    const image = imageOfText[text] ?? -1;
    if (!Number.isInteger(image) || image < 0 || image >= images) refuse(`caption ${text} belongs to image ${image}, which is not one of the ${images}.`);
    hasCaption[image] = 1;
  }
  const without = hasCaption.indexOf(0);
  if (without >= 0) refuse(`image ${without} has no caption.`);
  for (let index = 0; index < values.length; index += 1) {
    if (Number.isNaN(values[index])) refuse(`the similarity of image ${Math.floor(index / imageOfText.length)} and caption ${index % imageOfText.length} is not a number.`);
  }
}
