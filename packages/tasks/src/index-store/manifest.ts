/**
 * `index.json`: what an index is made of. The only file that changes; everything that it names is complete and never written
 * again. What it does not name (a killed writer's) is not there.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { QuerentError, parseJson, validate } from '@querent/core';
import type { JsonSchema, StoreSpace } from '@querent/core';
import { errnoOf, fileError, writeWhole } from './files.ts';
import type { FileSeal } from './files.ts';

/** Rows that were added together: `NAME.vectors` and `NAME.entries`. */
export interface SegmentRecord {
  readonly name: string;
  readonly rows: number;
  readonly vectors: FileSeal;
  readonly entries: FileSeal;
}

export interface Manifest {
  readonly space: StoreSpace;
  /** In the order they were written: a later row of an id replaces an earlier one. */
  readonly segments: readonly SegmentRecord[];
  /** Number of the next segment's name. */
  readonly next: number;
}

interface ManifestDocument {
  readonly format: 'querent-index';
  readonly version: 1;
  readonly model: string;
  readonly queries: number;
  readonly shared: number;
  readonly probe: readonly number[];
  readonly next: number;
  readonly segments: readonly SegmentRecord[];
}

const count = { type: 'integer', minimum: 0 } as const;
const seal: JsonSchema = { type: 'object', properties: { bytes: count, crc32: count }, required: ['bytes', 'crc32'] };
const schema: JsonSchema = {
  type: 'object',
  properties: {
    format: { const: 'querent-index' },
    version: { const: 1, description: 'The version of the format.' },
    model: { type: 'string', description: 'The model whose vectors these are.' },
    queries: { type: 'integer', minimum: 1, maximum: 65_536, description: 'Vectors an image.' },
    shared: { type: 'integer', minimum: 1, maximum: 65_536, description: 'Length of a vector.' },
    probe: { type: 'array', items: { type: 'number' }, description: 'Vector of a fixed text, which tells models apart.' },
    next: count,
    segments: {
      type: 'array',
      items: {
        type: 'object',
        properties: { name: { type: 'string', pattern: '^[0-9]{6,12}$' }, rows: count, vectors: seal, entries: seal },
        required: ['name', 'rows', 'vectors', 'entries'],
      },
    },
  },
  required: ['format', 'version', 'model', 'queries', 'shared', 'probe', 'next', 'segments'],
};

/** The manifest of a folder; undefined when there is none. @throws QuerentError QRT_CONFIG_INVALID, QRT_CONFIG_UNREADABLE, QRT_FILE. */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  const file = join(folder, 'index.json');
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    if (errnoOf(cause) === 'ENOTDIR') throw new QuerentError('QRT_STORE', `${folder} is a file; an index is a folder.`, { fix: 'Name the folder that `querent index --out` made.', details: { folder }, cause });
    throw fileError('read', file, cause);
  }
  const { model, queries, shared, probe, next, segments } = validate<ManifestDocument>(schema, parseJson(text, file), { what: file });
  return { space: { model, queries, shared, probe: Float32Array.from(probe) }, segments, next };
}

/** From here on the index is what `manifest` says. */
export async function writeManifest(folder: string, { space: { model, queries, shared, probe }, segments, next }: Manifest): Promise<void> {
  const document: ManifestDocument = { format: 'querent-index', version: 1, model, queries, shared, probe: Array.from(probe), next, segments };
  await writeWhole(join(folder, 'index.json'), [Buffer.from(`${JSON.stringify(document)}\n`)]);
}
