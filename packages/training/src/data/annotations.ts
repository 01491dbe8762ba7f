/** Images with their captions, from a Karpathy-style annotation file (COCO, Flickr8k, Flickr30k). */
import { readFile } from 'node:fs/promises';
import { QuerentError } from '@querent/core';

export interface AnnotatedImage {
  readonly filename: string;
  readonly split: string;
  /** Raw, as written. */
  readonly captions: readonly string[];
}

/**
 * The images of the named splits (all when none is named), in the file's order.
 * @throws QuerentError QRT_DATASET when the file cannot be read or a row is not `{ filename, split, sentences: [{ raw }] }`.
 */
export async function readAnnotations(file: string, splits?: readonly string[]): Promise<AnnotatedImage[]> {
  const images = imagesOf(await readDocument(file));
  if (images === undefined) throw new QuerentError('QRT_DATASET', `${file} has no list \`images\`.`, { fix: 'Expected { images: [{ filename, split, sentences: [{ raw }] }] }.' });
  const read = images.map((row, index) => {
    const image = imageOf(row);
    if (image === undefined) {
      throw new QuerentError('QRT_DATASET', `${file}: /images/${index} is not { filename, split, sentences: [{ raw }] } with a filename inside the image folder.`, { details: row });
    }
    return image;
  });
  const chosen = splits === undefined ? read : read.filter((image) => splits.includes(image.split));
  if (chosen.length === 0) {
    const known = [...new Set(read.map((image) => image.split))].join(', ');
    throw new QuerentError('QRT_DATASET', `${file} has no image of split ${splits?.join(', ') ?? '(any)'}.`, { fix: `Its splits are: ${known || 'none'}.` });
  }
  return chosen;
}

async function readDocument(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new QuerentError('QRT_DATASET', `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}.`, {
      fix: 'Give the path of an annotation file in JSON.',
      cause: error,
    });
  }
}

function imagesOf(document: unknown): readonly unknown[] | undefined {
  if (typeof document !== 'object' || document === null || !('images' in document)) return undefined;
  return Array.isArray(document.images) ? document.images : undefined;
}

function imageOf(row: unknown): AnnotatedImage | undefined {
  if (typeof row !== 'object' || row === null || !('filename' in row) || !('sentences' in row)) return undefined;
  if (typeof row.filename !== 'string' || !isInside(row.filename) || !Array.isArray(row.sentences)) return undefined;
  const captions = row.sentences.map((sentence: unknown) =>
    typeof sentence === 'object' && sentence !== null && 'raw' in sentence && typeof sentence.raw === 'string' ? sentence.raw : undefined,
  );
  if (!captions.every((caption) => caption !== undefined)) return undefined;
  return { filename: row.filename, split: 'split' in row && typeof row.split === 'string' ? row.split : 'train', captions };
}

/** A relative path that does not lead out of its folder. */
export function isInside(filename: string): boolean {
  return filename !== '' && !/^([/\\]|[a-z]:)/i.test(filename) && !filename.includes('\0') && !filename.split(/[/\\]/).includes('..');
}
