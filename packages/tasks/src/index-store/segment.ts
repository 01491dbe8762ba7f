/**
 * Rows that were added together, on disk: `NAME.vectors` (int8 [rows, queries, padded], then float32 scales [rows, queries], little
 * endian) and `NAME.entries` (a JSON object a line: each row's id and version, then the ids that were removed before them).
 */
import { join } from 'node:path';
import type { StoreEntry, StoreSpace } from '@querent/core';
import { damaged, readSealed, writeWhole } from './files.ts';
import type { SegmentRecord } from './manifest.ts';
import { paddedLength } from './quantise.ts';
import type { QuantisedVectors } from './quantise.ts';

/** What the entries of a segment say: removals come first, then its rows. */
export interface SegmentEntries {
  readonly removed: readonly string[];
  /** Undefined for a row that was replaced or removed before it was written. */
  readonly rows: readonly (StoreEntry | undefined)[];
}

/** @param vectors those of the rows, in order */
export async function writeSegment(folder: string, name: string, { removed, rows }: SegmentEntries, vectors: readonly QuantisedVectors[]): Promise<SegmentRecord> {
  const lines = [...rows.map((row) => JSON.stringify(row === undefined ? {} : { id: row.id, version: row.version })), ...removed.map((id) => JSON.stringify({ removed: id }))];
  return {
    name,
    rows: rows.length,
    vectors: await writeWhole(join(folder, `${name}.vectors`), [...vectors.map(({ data }) => bytesOf(data)), ...vectors.map(({ scales }) => bytesOf(scales))]),
    entries: await writeWhole(join(folder, `${name}.entries`), [Buffer.from(lines.map((line) => `${line}\n`).join(''))]),
  };
}

/** @throws QuerentError QRT_STORE when a file is damaged, QRT_FILE when it cannot be read. */
export async function readEntries(folder: string, segment: SegmentRecord): Promise<SegmentEntries> {
  const file = join(folder, `${segment.name}.entries`);
  const removed: string[] = [];
  const rows: (StoreEntry | undefined)[] = [];
  for (const line of (await readSealed(file, segment.entries)).toString('utf8').split('\n')) {
    if (line === '') continue;
    const entry = parse(line);
    if (typeof entry?.['removed'] === 'string') removed.push(entry['removed']);
    else if (typeof entry?.['id'] === 'string' && typeof entry['version'] === 'string') rows.push({ id: entry['id'], version: entry['version'] });
    else if (entry !== undefined && Object.keys(entry).length === 0) rows.push(undefined);
    else throw damaged(file, `${line.slice(0, 80)} is not an entry`);
  }
  if (rows.length !== segment.rows) throw damaged(file, `it has ${rows.length} rows, the manifest says ${segment.rows}`);
  return { removed, rows };
}

/** @throws QuerentError QRT_STORE when the file is damaged, QRT_FILE when it cannot be read. */
export async function readVectors(folder: string, segment: SegmentRecord, { queries, shared }: StoreSpace): Promise<QuantisedVectors> {
  const file = join(folder, `${segment.name}.vectors`);
  const size = segment.rows * queries * paddedLength(shared);
  const bytes = await readSealed(file, segment.vectors);
  if (bytes.length !== size + 4 * segment.rows * queries) throw damaged(file, `it has ${bytes.length} bytes, ${segment.rows} rows of [${queries}, ${shared}] need ${size + 4 * segment.rows * queries}`);
  return { data: new Int8Array(bytes.buffer, 0, size), scales: new Float32Array(bytes.buffer, size) };
}

function bytesOf(view: Int8Array | Float32Array): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined; // read field by field
  } catch {
    return undefined;
  }
}
