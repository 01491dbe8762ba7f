/** Pictures from several folders: those that an annotation file names, or all that a folder has. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { JsonSchema } from '@querent/core';
import { QuerentError } from '@querent/core';
import { readAnnotations } from './annotations.ts';

export interface PictureSource {
  /** The folder, relative to the data folder. */
  readonly images: string;
  /** Only the pictures of these splits. Default: every picture in the folder. */
  readonly annotations?: { readonly file: string; readonly splits: readonly string[] };
}

export interface PictureList {
  /** The folder that the names are relative to. */
  readonly folder: string;
  readonly filenames: readonly string[];
}

export const pictureSourceSchema: JsonSchema = {
  type: 'object',
  description: 'A folder of pictures, relative to the data folder; with annotations, only the pictures of their splits.',
  properties: {
    images: { type: 'string' },
    annotations: {
      type: 'object',
      properties: { file: { type: 'string' }, splits: { type: 'array', items: { type: 'string' }, minItems: 1 } },
      required: ['file', 'splits'],
      additionalProperties: false,
    },
  },
  required: ['images'],
  additionalProperties: false,
};

const PICTURE = /\.(jpe?g|png|webp|gif|tiff?|avif)$/i;

/**
 * The pictures of a source, always in the same order.
 * @throws QuerentError QRT_DATASET when the folder or the annotations cannot be read, or have no picture.
 */
export async function listPictures(source: PictureSource, dataFolder: string): Promise<PictureList> {
  const { images, annotations } = source;
  if (annotations !== undefined) {
    const annotated = await readAnnotations(join(dataFolder, annotations.file), annotations.splits);
    return { folder: join(dataFolder, images), filenames: annotated.map((image) => image.filename) };
  }
  const folder = join(dataFolder, images);
  const names = await readdir(folder).catch((cause: unknown) => {
    throw new QuerentError('QRT_DATASET', `The folder of pictures ${folder} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`, {
      fix: 'Give a folder that is relative to the data folder.',
      cause,
    });
  });
  // The folder's name is part of theirs: folders often number their pictures alike.
  const filenames = names.filter((name) => PICTURE.test(name)).sort((a, b) => (a < b ? -1 : 1)).map((name) => `${images}/${name}`);
  if (filenames.length === 0) throw new QuerentError('QRT_DATASET', `${folder} has no picture.`, { fix: 'Expected files that end in .jpg, .png, .webp, .gif, .tiff or .avif.' });
  return { folder: dataFolder, filenames };
}
