/**
 * Rows of pairs from a file, one after the other in constant memory: JSONL (`{ image, caption | captions }`, paths relative to the
 * file) and WebDataset (a tar whose samples are neighbours with one base name: `7.jpg`, `7.txt` and `7.json`). A row says where the
 * next one begins, so that a run goes on from there. A row that is unusable is a row with an error.
 */
import { createReadStream } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { QuerentError } from '@querent/core';
import type { ImageSource } from '@querent/core';
import { readTar } from './tar.ts';

/** An image with the captions it came with. */
export interface PairRow {
  /** Its place in the file, counted from 0. */
  readonly index: number;
  /** Byte offset of the row after it. */
  readonly next: number;
  /** A path or URL as the file has it, or the sample's name within its archive. */
  readonly name: string;
  readonly image: ImageSource;
  readonly captions: readonly string[];
  /** What else the row said, kept as it is. */
  readonly rest: Readonly<Record<string, unknown>>;
}

export interface BadRow {
  readonly index: number;
  readonly next: number;
  readonly name: string;
  readonly error: Error;
}

export interface RowPlace {
  /** Byte offset to go on from. Default 0. */
  readonly offset?: number;
  /** Index of the row there. Default 0. */
  readonly index?: number;
}

/** Longer lines and larger files of an archive are not read. */
const MAX_ROW_BYTES = 64 << 20;
const IMAGES = new Set(['jpg', 'jpeg', 'png', 'webp', 'gif', 'avif', 'tif', 'tiff', 'bmp']);

/** Is it an archive, by its name? */
export function isArchive(file: string): boolean {
  return file.toLowerCase().endsWith('.tar');
}

/** @throws QuerentError QRT_DATASET when the file cannot be read at all. */
export async function* readRows(file: string, place: RowPlace = {}, maxRowBytes: number = MAX_ROW_BYTES): AsyncGenerator<PairRow | BadRow, void> {
  try {
    yield* isArchive(file) ? archiveRows(file, place, maxRowBytes) : lineRows(file, place, maxRowBytes);
  } catch (cause) {
    if (cause instanceof QuerentError) throw cause;
    throw new QuerentError('QRT_DATASET', `${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`, { fix: 'Check the path.', details: { file }, cause });
  }
}

async function* lineRows(file: string, { offset = 0, index = 0 }: RowPlace, maxRowBytes: number): AsyncGenerator<PairRow | BadRow, void> {
  let parts: Buffer[] = [];
  let length = 0; // of the line so far; what is beyond the limit is counted, not kept
  let at = offset;
  let row = index;
  const finish = (next: number): PairRow | BadRow | undefined => {
    const line = length > maxRowBytes ? undefined : Buffer.concat(parts).toString('utf8').replace(/^\ufeff/, '').trim();
    parts = [];
    length = 0;
    if (line === '') return undefined;
    return lineRow(line, file, row++, next);
  };
  for await (const piece of createReadStream(file, { start: offset })) {
    const bytes = piece as Buffer; // no encoding is set
    for (let start = 0; start < bytes.length; ) {
      const end = bytes.indexOf(10, start);
      const part = bytes.subarray(start, end < 0 ? bytes.length : end);
      length += part.length;
      if (length <= maxRowBytes) parts.push(part);
      start += part.length + 1;
      if (end < 0) break;
      const made = finish(at + end + 1);
      if (made !== undefined) yield made;
    }
    at += bytes.length;
  }
  const last = length === 0 ? undefined : finish(at);
  if (last !== undefined) yield last;
}

function lineRow(line: string | undefined, file: string, index: number, next: number): PairRow | BadRow {
  const bad = (what: string, name = `row ${index + 1}`): BadRow => ({ index, next, name, error: new QuerentError('QRT_DATASET', `Row ${index + 1} of ${file}: ${what}.`, { fix: 'A row is {"image": "path or URL", "caption": "text"}, or with "captions": ["text", …].' }) });
  if (line === undefined) return bad('it is too long');
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return bad('it is not JSON');
  }
  if (!isRecord(value)) return bad('it is not an object');
  const { image, caption, captions, ...rest } = value;
  if (typeof image !== 'string' || image === '' || image.includes('\0')) return bad('"image" is not a path or URL');
  const texts = captionsOf(captions ?? caption);
  if (texts === undefined) return bad('"captions" is not a list of texts', image);
  const isUrl = /^[a-z][a-z0-9+.-]+:/i.test(image);
  return { index, next, name: image, image: isUrl || isAbsolute(image) ? image : join(dirname(file), image), captions: texts, rest };
}

async function* archiveRows(file: string, { offset = 0, index = 0 }: RowPlace, maxRowBytes: number): AsyncGenerator<PairRow | BadRow, void> {
  let row = index;
  let sample: { readonly key: string; readonly files: Map<string, { readonly data: Buffer | undefined; readonly bytes: number }>; end: number } | undefined;
  const made = (): (PairRow | BadRow)[] => (sample === undefined ? [] : [sampleRow(sample, file, row++, maxRowBytes)]);
  const source = createReadStream(file, { start: offset }) as AsyncIterable<Buffer>; // no encoding is set
  for await (const { name, data, bytes, end } of readTar(source, file, { start: offset, maxEntryBytes: maxRowBytes })) {
    const [, key = name, extension = ''] = /^((?:.*\/)?[^/.]+)\.([^/]*)$/.exec(name) ?? []; // the first dot of the last part, as WebDataset has it
    if (sample?.key !== key) {
      yield* made();
      sample = { key, files: new Map(), end };
    }
    sample.files.set(extension.toLowerCase(), { data, bytes });
    sample.end = end;
  }
  yield* made();
}

function sampleRow({ key, files, end }: { readonly key: string; readonly files: ReadonlyMap<string, { readonly data: Buffer | undefined; readonly bytes: number }>; readonly end: number }, file: string, index: number, maxRowBytes: number): PairRow | BadRow {
  const bad = (what: string): BadRow => ({ index, next: end, name: key, error: new QuerentError('QRT_DATASET', `Sample ${key} of ${file}: ${what}.`, { fix: 'A sample is NAME.jpg with NAME.txt, or with NAME.json that has "caption" or "captions".' }) });
  for (const { data, bytes } of files.values()) if (data === undefined) return bad(`a file of it has ${bytes} bytes, more than the ${maxRowBytes} that are read`);
  const [extension, picture] = [...files].find(([name]) => IMAGES.has(name)) ?? [];
  if (picture?.data === undefined || extension === undefined) return bad('there is no picture');
  let document: unknown = {};
  try {
    const json = files.get('json')?.data;
    if (json !== undefined) document = JSON.parse(json.toString('utf8'));
  } catch {
    return bad('its .json is not JSON');
  }
  if (!isRecord(document)) return bad('its .json is not an object');
  const { caption, captions, ...rest } = document;
  const texts = captionsOf(captions ?? caption ?? files.get('txt')?.data?.toString('utf8').trim());
  if (texts === undefined) return bad('its captions are not texts');
  return { index, next: end, name: `${key}.${extension}`, image: picture.data, captions: texts, rest };
}

/** A text, a list of texts, or nothing: a list. */
function captionsOf(value: unknown): readonly string[] | undefined {
  if (value === undefined || value === null) return [];
  if (typeof value === 'string') return [value];
  return Array.isArray(value) && value.every((one): one is string => typeof one === 'string') ? value : undefined;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
