/**
 * Questions about pictures, with an answer each: what a `vqa` recipe is fed from. A reader a format (`daquar.ts`, `easy-vqa.ts`); which
 * pictures are held out for measuring is decided here, by the picture's name alone, so that no picture is in both parts whatever the
 * file's order.
 */
import { createHash } from 'node:crypto';
import type { JsonSchema } from '@querent/core';
import { QuerentError } from '@querent/core';
import { readDaquar } from './daquar.ts';
import { readEasyVqa } from './easy-vqa.ts';
import type { PictureList } from './picture-sources.ts';

export interface AnsweredQuestion {
  /** Index into the pictures. */
  readonly picture: number;
  readonly question: string;
  readonly answer: string;
}

export interface QuestionSet {
  readonly pictures: PictureList;
  readonly questions: readonly AnsweredQuestion[];
}

/** Where questions come from; paths are relative to the data folder. */
export interface QuestionSource {
  readonly format: 'daquar' | 'easy-vqa';
  /** The questions, JSON. */
  readonly file: string;
  /** The folder of the pictures. Default: `images` beside the file; of easy-vqa the file names its own sheet. */
  readonly images?: string;
  /** Share of the pictures that is held out, between 0 and 1. Default 0: none. */
  readonly heldOut?: number;
}

export const questionSourceSchema: JsonSchema = {
  type: 'object',
  description: 'The questions, with one answer each; paths are relative to the data folder.',
  properties: {
    format: { enum: ['daquar', 'easy-vqa'], description: '`daquar`: [{ image, question, answer }]; `easy-vqa`: { sheet, columns, tile, questions: [[image, question, answer]] }.' },
    file: { type: 'string', description: 'The questions.' },
    images: { type: 'string', description: 'The folder of the pictures. Default: `images` beside the file.' },
    heldOut: { type: 'number', minimum: 0, exclusiveMaximum: 1, description: 'Share of the pictures, chosen by their names, that is held out for measuring.' },
  },
  required: ['format', 'file'],
  additionalProperties: false,
};

export interface ReadQuestionsOptions {
  readonly dataFolder: string;
  /** Where pictures are put that have to be cut out of a sheet first. */
  readonly cacheFolder: string;
  /** The pictures that learn, or those held out. */
  readonly part: 'train' | 'held-out';
}

/** @throws QuerentError QRT_DATASET when a file cannot be read, has another form, or no question of that part. */
export async function readQuestions(source: QuestionSource, options: ReadQuestionsOptions): Promise<QuestionSet> {
  const all = source.format === 'daquar' ? await readDaquar(source, options.dataFolder) : await readEasyVqa(source, options.dataFolder, options.cacheFolder);
  const isWanted = (picture: number): boolean => isHeldOut(all.pictures.filenames[picture]!, source.heldOut ?? 0) === (options.part === 'held-out');
  const kept = new Map<number, number>();
  const questions = all.questions.flatMap((one) => {
    if (!isWanted(one.picture)) return [];
    const picture = kept.get(one.picture) ?? kept.size;
    kept.set(one.picture, picture);
    return [{ ...one, picture }];
  });
  if (questions.length === 0) throw new QuerentError('QRT_DATASET', `${source.file} has no question of its ${options.part} part.`, { fix: 'Choose another share in /questions/heldOut.' });
  const filenames = [...kept.keys()].map((picture) => all.pictures.filenames[picture]!);
  return { pictures: { folder: all.pictures.folder, filenames }, questions };
}

/** By the last part of its path: the same picture in another folder is the same picture. */
function isHeldOut(filename: string, share: number): boolean {
  const name = filename.slice(filename.lastIndexOf('/') + 1);
  return createHash('sha256').update(name).digest().readUInt32BE(0) / 2 ** 32 < share;
}
