/**
 * DAQUAR (Malinowski and Fritz 2014): questions about indoor photographs, as a list `[{ image, question, answer }]`. Several answers are
 * joined by `, ` and stay so: the set is to be named whole.
 */
import { dirname, join } from 'node:path';
import { QuerentError } from '@querent/core';
import { isInside } from './annotations.ts';
import { readDatasetJson } from './dataset-json.ts';
import type { QuestionSet, QuestionSource } from './vqa.ts';

/** @throws QuerentError QRT_DATASET naming the first row that has another form. */
export async function readDaquar(source: QuestionSource, dataFolder: string): Promise<QuestionSet> {
  const file = join(dataFolder, source.file);
  const rows = await readDatasetJson(file);
  if (!Array.isArray(rows)) throw new QuerentError('QRT_DATASET', `${file} is no list.`, { fix: 'Expected [{ image, question, answer }].' });
  const pictures = new Map<string, number>();
  const questions = rows.map((row: unknown, index) => {
    const read = rowOf(row);
    if (read === undefined) throw new QuerentError('QRT_DATASET', `${file}: /${index} is not { image, question, answer } with an image inside its folder.`, { details: row });
    const picture = pictures.get(read.image) ?? pictures.size;
    pictures.set(read.image, picture);
    return { picture, question: read.question, answer: read.answer };
  });
  return { pictures: { folder: source.images === undefined ? join(dirname(file), 'images') : join(dataFolder, source.images), filenames: [...pictures.keys()] }, questions };
}

function rowOf(row: unknown): { readonly image: string; readonly question: string; readonly answer: string } | undefined {
  if (typeof row !== 'object' || row === null || !('image' in row) || !('question' in row) || !('answer' in row)) return undefined;
  const { image, question, answer } = row;
  if (typeof image !== 'string' || !isInside(image) || typeof question !== 'string' || typeof answer !== 'string') return undefined;
  return { image, question: question.trim(), answer: answer.trim() };
}
