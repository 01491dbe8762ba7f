/**
 * What `querent evaluate vqa` asks: a file of questions as its set is published, or those that a recipe kept from its training
 * (`questions.heldOut`), so that what a recipe has taught is measured by naming the recipe.
 */
import { basename, dirname, resolve } from 'node:path';
import { QuerentError, readJson } from '@querent/core';
import { parseVqaDataset } from '@querent/evaluation';
import type { VqaQuestion } from '@querent/evaluation';
import { readQuestions } from '@querent/training';
import type { QuestionSource, ReadQuestionsOptions } from '@querent/training';
import { readRecipe, recipeFolders } from '../train.ts';
import type { TrainCallOptions } from '../train.ts';

/** Questions, and the folder that their images' names are relative to. */
export interface AskedQuestions {
  readonly folder: string;
  readonly questions: readonly VqaQuestion[];
}

/** Where a file's other halves are. */
export interface QuestionFileOptions {
  /** The folder of the images; a sheet of tiles (easy-VQA) is named by the file itself. */
  readonly images?: string;
  /** VQAv2's and OK-VQA's answers. */
  readonly annotations?: string;
  /** Where the tiles of a sheet are put. Default: `cache`. */
  readonly cache?: string;
}

const MAX_BYTES = 2 ** 30;

/**
 * The questions of a file: VQAv2's, OK-VQA's, GQA's, a list `[{ image, question, answer | answers }]`, or easy-VQA's with its sheet of tiles.
 *
 * @throws QuerentError QRT_CONFIG_UNREADABLE when a file cannot be read or is not JSON, QRT_DATASET naming the row that is unusable,
 * QRT_USAGE when the file does not say where its images are and nobody else does.
 */
export async function questionsOfFile(file: string, options: QuestionFileOptions = {}): Promise<AskedQuestions> {
  const read = (path: string): Promise<unknown> => readJson(path, { maxBytes: MAX_BYTES });
  const document = await read(file);
  if (isOfTiles(document)) {
    return asked({ format: 'easy-vqa', file: basename(file) }, { dataFolder: dirname(resolve(file)), cacheFolder: resolve(options.cache ?? 'cache'), part: 'train' });
  }
  if (options.images === undefined) throw new QuerentError('QRT_USAGE', `${file} names images, and their folder is not said.`, { fix: 'Add --images DIR.' });
  return { folder: options.images, questions: parseVqaDataset(document, file, options.annotations === undefined ? undefined : await read(options.annotations)) };
}

/**
 * The questions that a `vqa` recipe keeps from its training.
 *
 * @throws QuerentError QRT_CONFIG_INVALID when the file is no recipe, or one that asks nothing; QRT_DATASET when it holds nothing out.
 */
export async function heldOutQuestions(recipeFile: string, options: Pick<TrainCallOptions, 'data' | 'cache'>): Promise<AskedQuestions> {
  const recipe = await readRecipe(recipeFile);
  if (recipe.kind !== 'vqa') throw new QuerentError('QRT_CONFIG_INVALID', `${recipeFile} is a recipe of kind ${recipe.kind}: it has no questions.`, { fix: 'Name a recipe of kind vqa.' });
  return asked(recipe.questions, { ...recipeFolders(recipeFile, options), part: 'held-out' });
}

async function asked(source: QuestionSource, options: ReadQuestionsOptions): Promise<AskedQuestions> {
  const { pictures, questions } = await readQuestions(source, options);
  return {
    folder: pictures.folder,
    questions: questions.map(({ picture, question, answer }, i) => ({ id: String(i), filename: pictures.filenames[picture]!, question, answers: [answer] })),
  };
}

function isOfTiles(document: unknown): boolean {
  return typeof document === 'object' && document !== null && 'sheet' in document && 'tile' in document;
}
