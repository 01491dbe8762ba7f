/**
 * Derived weights beside the checkpoint that they were made from: a safetensors file written once, piece by piece and atomically, with
 * its CRC-32 in a second file written after it. A file that does not fit its checksum is made again: this is against disks and interrupted
 * copies, not against people, and a digest that were would take a third of the time that a large model takes to load. Where the checkpoint's folder is
 * read-only the user's cache takes it (`QUERENT_CACHE`, else `querent` in `XDG_CACHE_HOME` or `~/.cache`).
 */
import { createHash } from 'node:crypto';
import { access, constants, mkdir, open, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { BYTES_PER_ELEMENT, elementCount, isQuerentError, type DType, type FileTensor, type TensorData } from '@querent/core';
import { writeFileAtomic } from './file-write.ts';
import { readJsonObjectIfThere } from './json-file.ts';
import { readSafetensors } from './safetensors.ts';
import { headerBytes, SAFETENSORS_NAMES } from './safetensors-write.ts';

/** Tensors that one piece of work makes: their names, dtypes and shapes are known before. */
export interface DerivedTensors {
  readonly tensors: readonly { readonly name: string; readonly dtype: DType; readonly shape: readonly number[] }[];
  /** In the order of `tensors`. */
  make(): Promise<readonly TensorData[]>;
}

export interface DerivedOptions {
  /** The checkpoint's folder, or a file in it. */
  readonly beside: string;
  /** What the file is called, for instance `int4`. */
  readonly kind: string;
  /** Everything that the result depends on: files with size and time, names, settings. Its hash is part of the name. */
  readonly key: unknown;
  /**
   * Where to put what is still being checked: with it, tensors from the cache are handed out before their checksum has been compared, so that
   * both cores work while a model is loaded. Use nothing that was computed from them until all are true; false means that the cache is gone
   * and has to be made again.
   */
  readonly checks?: Promise<boolean>[];
  /** Pieces of work that are done, where they are made and not in the cache. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** Raised when the layout or the rounding of what is cached changes. */
const LAYOUT = 1;

/**
 * The tensors, from the cache or made now.
 * @throws QuerentError QRT_FILE when neither folder can be written; what `make` throws.
 */
export async function derivedTensors(works: readonly DerivedTensors[], options: DerivedOptions): Promise<ReadonlyMap<string, FileTensor>> {
  const digest = createHash('sha256').update(JSON.stringify([LAYOUT, options.kind, options.key, works.map(({ tensors }) => tensors)])).digest('hex');
  const name = `${options.kind}-${digest.slice(0, 16)}.safetensors`;
  const folders = await cacheFolders(options.beside);
  for (const folder of folders) {
    const found = await readChecked(join(folder, name), options);
    if (found !== undefined) return found;
  }
  const folder = (await firstWritable(folders)) ?? userCache();
  const file = join(folder, name);
  await mkdir(folder, { recursive: true }).catch(() => undefined); // writing tells what is wrong
  await rm(checksumOf(file), { force: true });
  let checksum = 0;
  let bytes = 0;
  await writeFileAtomic(file, counted(pieces(works, options), (piece) => {
    checksum = crc32(piece, checksum);
    bytes += piece.byteLength;
  }));
  await writeFileAtomic(checksumOf(file), `${JSON.stringify({ crc32: checksum, bytes })}\n`);
  return (await readSafetensors(file)).tensors;
}

/** Removes the files that derived tensors lie in, when nobody will ask for them again. What cannot be removed stays: it is only a cache. */
export async function removeDerived(tensors: ReadonlyMap<string, FileTensor>): Promise<void> {
  for (const file of new Set([...tensors.values()].map((tensor) => tensor.file))) {
    for (const path of [checksumOf(file), file]) await rm(path, { force: true }).catch(() => undefined);
  }
}

/** Where derived files of a checkpoint may lie, the likelier first. */
export async function cacheFolders(beside: string): Promise<readonly string[]> {
  return [join(await folderOf(beside), '.querent'), userCache()];
}

function checksumOf(file: string): string {
  return `${file}.json`;
}

async function folderOf(path: string): Promise<string> {
  return (await stat(path).catch(() => undefined))?.isFile() === true ? join(path, '..') : path;
}

function userCache(): string {
  const { QUERENT_CACHE, XDG_CACHE_HOME } = process.env;
  const root = QUERENT_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'querent');
  return join(root, 'weights');
}

/** Makes the folder when it is not there. */
export async function firstWritable(folders: readonly string[]): Promise<string | undefined> {
  for (const folder of folders) {
    try {
      await mkdir(folder, { recursive: true });
      await access(folder, constants.W_OK);
      return folder;
    } catch {
      continue;
    }
  }
  return undefined;
}

/** The tensors of a file that is whole by its checksum; undefined when it is not there or not whole. */
async function readChecked(file: string, { checks, signal }: Pick<DerivedOptions, 'checks' | 'signal'>): Promise<ReadonlyMap<string, FileTensor> | undefined> {
  const wanted = await readJsonObjectIfThere(checksumOf(file)).catch(() => undefined); // damaged: made again
  const size = (await stat(file).catch(() => undefined))?.size;
  if (wanted === undefined || size === undefined || size !== wanted['bytes']) return undefined;
  const isWhole = async (): Promise<boolean> => (await checksumOfFile(file, signal)) === wanted['crc32'];
  if (checks === undefined && !(await isWhole())) return undefined;
  let tensors: ReadonlyMap<string, FileTensor>;
  try {
    ({ tensors } = await readSafetensors(file));
  } catch (error) {
    if (isQuerentError(error)) return undefined;
    throw error;
  }
  if (checks !== undefined) {
    const check = isWhole().then(async (whole) => {
      if (!whole) await rm(checksumOf(file), { force: true }).catch(() => undefined); // a folder that cannot be written to is checked first next time
      return whole;
    });
    check.catch(() => undefined); // whoever waits for it is told
    checks.push(check);
  }
  return tensors;
}

async function checksumOfFile(file: string, signal: AbortSignal | undefined): Promise<number> {
  let checksum = 0;
  const handle = await open(file, 'r');
  try {
    const buffer = Buffer.alloc(2 ** 22);
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, null);
      if (bytesRead === 0) return checksum;
      checksum = crc32(buffer.subarray(0, bytesRead), checksum);
    }
  } finally {
    await handle.close();
  }
}

async function* pieces(works: readonly DerivedTensors[], { signal, onProgress }: Pick<DerivedOptions, 'signal' | 'onProgress'>): AsyncGenerator<Uint8Array> {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let offset = 0;
  for (const { name, dtype, shape } of works.flatMap(({ tensors }) => tensors)) {
    const end = offset + elementCount(shape) * BYTES_PER_ELEMENT[dtype];
    header[name] = { dtype: SAFETENSORS_NAMES[dtype], shape, data_offsets: [offset, end] };
    offset = end;
  }
  yield headerBytes(header);
  for (const [done, work] of works.entries()) {
    onProgress?.(done, works.length);
    await new Promise((resolve) => setImmediate(resolve)); // others run between two matrices
    signal?.throwIfAborted();
    for (const { data } of await work.make()) yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
  onProgress?.(works.length, works.length);
}

async function* counted(source: AsyncIterable<Uint8Array>, note: (piece: Uint8Array) => void): AsyncGenerator<Uint8Array> {
  for await (const piece of source) {
    note(piece);
    yield piece;
  }
}
