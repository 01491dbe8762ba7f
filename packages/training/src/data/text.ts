/** Caption text for language models: one caption a line, plain or gzip, or the captions of an annotation file. */
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { QuerentError } from '@querent/core';
import type { Random } from '@querent/images';

/** Lines of a text file; `.gz` is unpacked. Empty lines are left out. @throws QuerentError QRT_DATASET */
export async function readLines(file: string): Promise<string[]> {
  try {
    const bytes = await readFile(file);
    const text = file.endsWith('.gz') ? gunzipSync(bytes, { maxOutputLength: 2 ** 30 }).toString('utf8') : bytes.toString('utf8');
    return text.split('\n').filter((line) => line.trim() !== '');
  } catch (error) {
    throw new QuerentError('QRT_DATASET', `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}.`, {
      fix: 'Is --data the folder that the recipe’s paths are relative to?',
      cause: error,
    });
  }
}

/** Lower case; letters, digits and apostrophes, single blanks between words. */
export function normaliseCaption(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^a-z0-9']+/g, ' ')
    .trim();
}

/** English function words and the words that any photo caption has: they say nothing about a picture. */
const FUNCTION_WORDS = new Set(
  ('a an the of in on at to with and or by for from as is are was were be been being it its it\'s this that these those there their they them he she his her him hers ' +
    'while who which what where when whose into onto over under up down out off near next through across along around behind beside between against toward towards ' +
    'some another other others each several many both one two three four has have had having can will would do does did not no very other than then so but if ' +
    'photo picture image shown show shows').split(' '),
);

/** The words of a caption that carry its content. */
export function contentWords(caption: string): string[] {
  return [...new Set(normaliseCaption(caption).split(' '))].filter((word) => word.length > 1 && !FUNCTION_WORDS.has(word));
}

export interface KeywordOptions {
  /** Share of captions that get any. */
  readonly share: number;
  /** Each word is kept with a probability drawn from this range. */
  readonly keep: readonly [number, number];
  /** Words of another caption mixed in, per word kept. */
  readonly distractors: number;
  readonly most: number;
}

/**
 * Content words of a caption, thinned, mixed with a few of another caption, in random order: what a language model hears
 * before it has ever met an image, so that it has learnt to listen to what stands in front.
 */
export function drawKeywords(caption: string, other: string, options: KeywordOptions, random: Random): string[] {
  if (random.next() >= options.share) return [];
  const keep = options.keep[0] + (options.keep[1] - options.keep[0]) * random.next();
  const kept = contentWords(caption).filter(() => random.next() < keep);
  const strangers = contentWords(other).filter(() => random.next() < options.distractors);
  return random.shuffle([...kept, ...strangers]).slice(0, options.most);
}
