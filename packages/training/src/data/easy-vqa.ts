/**
 * easy-VQA (Victor Zhou): questions about drawn shapes. The pictures are tiles of one sheet, row by row; they are cut out once, into the
 * cache folder, so that everything after this sees ordinary files.
 */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { QuerentError } from '@querent/core';
import { isJsonObject } from '@querent/hub';
import { crop, decodeImage, encodePng } from '@querent/images';
import { isInside } from './annotations.ts';
import { readDatasetJson } from './dataset-json.ts';
import type { AnsweredQuestion, QuestionSet, QuestionSource } from './vqa.ts';

interface Sheet {
  readonly file: string;
  readonly columns: number;
  /** Side of a tile in pixels. */
  readonly tile: number;
}

/** Tiles on one sheet that are cut: more is a mistake. */
const MAX_TILES = 1_000_000;

/** @throws QuerentError QRT_DATASET when the file has another form, or a question is about a tile that the sheet does not have. */
export async function readEasyVqa(source: QuestionSource, dataFolder: string, cacheFolder: string): Promise<QuestionSet> {
  const file = join(dataFolder, source.file);
  const document = await readDatasetJson(file);
  const { sheet, columns, tile, questions: rows } = isJsonObject(document) ? document : {};
  if (typeof sheet !== 'string' || !isInside(sheet) || !isCount(columns) || !isCount(tile) || !Array.isArray(rows)) {
    throw new QuerentError('QRT_DATASET', `${file} is not a description of tiles with questions.`, { fix: 'Expected { sheet, columns, tile, questions: [[image, question, answer]] }.' });
  }
  const questions = rows.map((row: unknown, index): AnsweredQuestion => {
    const [picture, question, answer]: unknown[] = Array.isArray(row) ? row : [];
    if (typeof picture !== 'number' || !Number.isInteger(picture) || picture < 0 || picture >= MAX_TILES || typeof question !== 'string' || typeof answer !== 'string') {
      throw new QuerentError('QRT_DATASET', `${file}: /questions/${index} is not [image, question, answer].`, { details: row });
    }
    return { picture, question: question.trim(), answer: answer.trim() };
  });
  const count = questions.reduce((most, { picture }) => Math.max(most, picture + 1), 0);
  const folder = source.images === undefined ? dirname(file) : join(dataFolder, source.images);
  const name = await cutTiles({ file: join(folder, sheet), columns, tile }, count, cacheFolder);
  return { pictures: { folder: cacheFolder, filenames: Array.from({ length: count }, (_, i) => `${name}/${tileName(i)}`) }, questions };
}

/** The tiles as files; the folder's name, within the cache folder. It is there whole or not at all. */
async function cutTiles(sheet: Sheet, count: number, cacheFolder: string): Promise<string> {
  const { columns, tile } = sheet;
  const { width, height, data } = await decodeImage(sheet.file);
  const rows = Math.ceil(count / columns);
  if (columns * tile > width || rows * tile > height) {
    throw new QuerentError('QRT_DATASET', `${sheet.file} is ${width} × ${height}; ${count} tiles of ${tile} in ${columns} columns need ${columns * tile} × ${rows * tile}.`, { fix: 'Is the sheet the one that the questions are about?' });
  }
  const name = `tiles-${createHash('sha256').update(data).update(JSON.stringify([width, columns, tile, count])).digest('hex').slice(0, 16)}`;
  const target = join(cacheFolder, name);
  if (await isThere(target)) return name;
  await mkdir(cacheFolder, { recursive: true });
  const partial = await mkdtemp(`${target}.partial-`);
  try {
    for (let i = 0; i < count; i++) {
      const picture = crop({ width, height, data }, (i % columns) * tile, Math.floor(i / columns) * tile, tile, tile);
      await writeFile(join(partial, tileName(i)), await encodePng(picture));
    }
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    if (!(await isThere(target))) throw error; // another run was there first
  }
  return name;
}

function tileName(index: number): string {
  return `${String(index).padStart(6, '0')}.png`;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 65_536;
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false);
}
