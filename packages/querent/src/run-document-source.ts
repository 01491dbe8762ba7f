/** Items of a document's source, one by one: what a stage reads, with paths made whole, and what the sink shows. */
import { createReadStream } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { QuerentError, parseJson } from '@querent/core';
import type { DocumentSource } from './pipeline-document.ts';
import { filesOf } from './run-document-files.ts';

type Fields = Readonly<Record<string, unknown>>;

export interface SourceItem {
  /** What tasks read. */
  readonly fields: Fields;
  /** What is written beside their outputs: as the document has it. */
  readonly shown: Fields;
}

const PICTURES = '**/*.{jpg,jpeg,png,webp,gif,avif,tif,tiff,JPG,JPEG,PNG}';

/** How many items there will be; undefined where only reading tells. */
export function countOf(source: DocumentSource): number | undefined {
  return 'list' in source ? source.list.length : undefined;
}

/** @throws QuerentError QRT_FILE for a folder or file that cannot be read, QRT_DATASET for a line that is no JSON object, with its number. */
export async function* itemsOf(source: DocumentSource, baseDir: string): AsyncGenerator<SourceItem, void, undefined> {
  if ('list' in source) {
    for (const item of source.list) {
      const shown = typeof item === 'string' ? { image: item } : item;
      yield { shown, fields: whole(shown, baseDir) };
    }
  } else if ('folder' in source) {
    for await (const name of filesOf(resolve(baseDir, source.folder), source.glob ?? PICTURES)) {
      const image = join(source.folder, name);
      yield { shown: { image }, fields: { image: resolve(baseDir, image) } };
    }
  } else {
    const file = resolve(baseDir, source.jsonl);
    let number = 0;
    for await (const line of linesOf(file)) {
      number++;
      if (line.trim() === '') continue;
      const row = rowOf(line, source.jsonl, number);
      yield { shown: row, fields: whole(row, dirname(file)) };
    }
  }
}

/** Lines of a text file. @throws QuerentError QRT_FILE. */
export async function* linesOf(file: string): AsyncGenerator<string, void, undefined> {
  const stream = createReadStream(file, 'utf8');
  try {
    yield* createInterface({ input: stream, crlfDelay: Infinity });
  } catch (cause) {
    throw new QuerentError('QRT_FILE', `${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`, { fix: 'Check the path and its permissions.', details: { file }, cause });
  } finally {
    stream.destroy();
  }
}

function rowOf(line: string, file: string, number: number): Fields {
  let value: unknown;
  try {
    value = parseJson(line);
  } catch (cause) {
    throw new QuerentError('QRT_DATASET', `${file}:${number} is not JSON.`, { fix: 'A JSON Lines file has one object a line.', details: { file, line: number }, cause });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields; // an object of JSON
  throw new QuerentError('QRT_DATASET', `${file}:${number} is no JSON object.`, { fix: 'A JSON Lines file has one object a line, for instance {"image": "a.jpg"}.', details: { file, line: number } });
}

/** The same with the paths of its images made whole. */
function whole(fields: Fields, folder: string): Fields {
  const pathOf = (image: unknown): unknown => (typeof image === 'string' && !isAbsolute(image) && !/^[a-z][a-z0-9+.-]+:/i.test(image) ? join(folder, image) : image);
  const { image, images } = fields;
  return { ...fields, ...(image === undefined ? {} : { image: pathOf(image) }), ...(Array.isArray(images) ? { images: images.map(pathOf) } : {}) };
}
