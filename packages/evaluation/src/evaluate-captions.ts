/**
 * Captions against what people wrote: all scores in one call, with the tokens that published figures are counted on. What
 * `querent evaluate caption` prints. Next: `bleu.ts`, `rouge.ts`, `cider.ts`, `ptb-tokenizer.ts`.
 */
import { QuerentError } from '@querent/core';
import { bleu } from './bleu.ts';
import type { CaptionedImage } from './caption-dataset.ts';
import { cider } from './cider.ts';
import { ptbTokenizeAll } from './ptb-tokenizer.ts';
import { rougeL } from './rouge.ts';

/** Figures over a set of images, under their published names. */
export interface CaptionFigures {
  readonly Bleu_1: number;
  readonly Bleu_2: number;
  readonly Bleu_3: number;
  readonly Bleu_4: number;
  readonly ROUGE_L: number;
  readonly CIDEr: number;
  /** How many images were judged. */
  readonly images: number;
}

/** The same figures for each image, in order. */
export interface CaptionScores {
  readonly figures: CaptionFigures;
  readonly each: Readonly<Record<'Bleu_1' | 'Bleu_2' | 'Bleu_3' | 'Bleu_4' | 'ROUGE_L' | 'CIDEr', Float64Array>>;
}

/** Tokens as `split()` sees them: the one token with a blank in it, `3 1/2`, becomes two for BLEU and CIDEr. */
function words(tokens: readonly string[]): string[] {
  return tokens.flatMap((token) => token.split('\u00a0'));
}

/**
 * Scores one caption an image against its references, both as plain text.
 *
 * @throws QuerentError QRT_USAGE when there are no images, the lists differ in length, or an image has no reference.
 */
export function scoreCaptions(captions: readonly string[], references: readonly (readonly string[])[]): CaptionScores {
  const hypothesisTokens = ptbTokenizeAll(captions);
  const flat = ptbTokenizeAll(references.flat());
  let next = 0;
  const referenceTokens = references.map((list) => flat.slice(next, (next += list.length)));

  const rouge = rougeL(hypothesisTokens, referenceTokens);
  const hypothesisWords = hypothesisTokens.map(words);
  const referenceWords = referenceTokens.map((list) => list.map(words));
  const blue = bleu(hypothesisWords, referenceWords);
  const consensus = cider(hypothesisWords, referenceWords);
  const [Bleu_1 = 0, Bleu_2 = 0, Bleu_3 = 0, Bleu_4 = 0] = blue.corpus;
  const bleuOf = (order: number): Float64Array => Float64Array.from(blue.perImage, (scores) => scores[order] ?? 0);
  return {
    figures: { Bleu_1, Bleu_2, Bleu_3, Bleu_4, ROUGE_L: rouge.corpus, CIDEr: consensus.corpus, images: captions.length },
    each: {
      Bleu_1: bleuOf(0),
      Bleu_2: bleuOf(1),
      Bleu_3: bleuOf(2),
      Bleu_4: bleuOf(3),
      ROUGE_L: Float64Array.from(rouge.perImage),
      CIDEr: Float64Array.from(consensus.perImage),
    },
  };
}

/**
 * Scores predictions, by file name, against the annotated images. Every image must have a prediction; further predictions
 * are left aside.
 *
 * @throws QuerentError QRT_DATASET when images have no prediction.
 */
export function evaluateCaptions(predictions: ReadonlyMap<string, string>, images: readonly CaptionedImage[]): CaptionFigures {
  const missing = images.filter(({ filename }) => !predictions.has(filename)).map(({ filename }) => filename);
  if (missing.length > 0) {
    throw new QuerentError('QRT_DATASET', `${missing.length} of ${images.length} images have no caption to judge: ${missing.slice(0, 5).join(', ')}${missing.length > 5 ? ', …' : ''}.`, {
      fix: 'Caption these images too, or give an empty text, which scores 0.',
      details: { missing },
    });
  }
  const captions = images.map(({ filename }) => predictions.get(filename) ?? '');
  const references = images.map(({ sentences }) => sentences.map(({ raw }) => raw));
  return scoreCaptions(captions, references).figures;
}
