/**
 * The embedded store: a folder of segments that are written once (`segment.ts`) under a manifest that is replaced whole
 * (`manifest.ts`), so that a kill at any moment loses at most what was not flushed. Searching reads everything into memory as int8
 * and compares it with every image (`scan.ts`): exact, and fast enough below a million images. Beyond that, use a server's store.
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { QuerentError, defineStore, isQuerentError } from '@querent/core';
import type { StoreEntry, StoreHit, StoreOpenOptions, StorePlugin, StoreRow, StoreSearchOptions, StoreSpace, VectorStore } from '@querent/core';
import { errnoOf, fileError, lockFolder } from './files.ts';
import { readManifest, writeManifest } from './manifest.ts';
import type { Manifest, SegmentRecord } from './manifest.ts';
import { quantise } from './quantise.ts';
import type { QuantisedVectors } from './quantise.ts';
import { ScanBlock, rowsPerBlock, scanQuery } from './scan.ts';
import type { ScanQuery } from './scan.ts';
import { readEntries, readVectors, writeSegment } from './segment.ts';
import { assertSpace, assertVectors } from './space.ts';
import { TopHits } from './top-hits.ts';

/** Rows that wait in memory before they are written. */
const PENDING_ROWS = 4096;
/** More segments than this are joined when the store is closed. */
const MANY_SEGMENTS = 32;
/** Images whose every vector is compared with every vector of the image asked with; chosen by comparing first with first and so on. */
const CANDIDATES = 1000;
/** Times that a reader starts again when a writer has joined segments under its hands. */
const ATTEMPTS = 3;

const OWN_FILE = /^(\d{6,12}\.(vectors|entries)|index\.json|writer\.lock|\..*\.tmp)$/;

/** Rows and removals that are not written yet. A row that was replaced or removed meanwhile keeps its place, without an id. */
interface Pending {
  readonly rows: { readonly entry: StoreEntry | undefined; readonly vectors: QuantisedVectors }[];
  readonly removed: Set<string>;
}

class FolderStore implements VectorStore {
  readonly space: StoreSpace;
  readonly #folder: string;
  readonly #lock: AsyncDisposable | undefined;
  #manifest: Manifest;
  /** Row and version of each image. */
  readonly #entries = new Map<string, { readonly row: number; readonly version: string }>();
  /** The image of each row; undefined when it was replaced or removed. */
  readonly #ids: (string | undefined)[] = [];
  readonly #blocks: ScanBlock[] = [];
  #loading: Promise<void> | undefined;
  #isLoaded = false;
  #pending: Pending = { rows: [], removed: new Set() };
  #flushing: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  private constructor(folder: string, manifest: Manifest, lock: AsyncDisposable | undefined) {
    this.#folder = folder;
    this.#manifest = manifest;
    this.#lock = lock;
    this.space = manifest.space;
  }

  static async open(folder: string, { space, write = false, signal }: StoreOpenOptions): Promise<FolderStore> {
    signal?.throwIfAborted();
    const existing = await readManifest(folder);
    if (existing === undefined && space === undefined) {
      throw new QuerentError('QRT_STORE', `There is no index at ${folder}.`, { fix: `Make one: querent index PHOTOS --out ${folder}`, details: { folder } });
    }
    if (existing !== undefined && space !== undefined) assertSpace(existing.space, space, folder);
    if (!write && existing !== undefined) return FolderStore.#reader(folder, existing, signal);
    if (existing === undefined) await assertOurs(folder);
    const lock = await lockFolder(folder);
    try {
      const manifest = (await readManifest(folder)) ?? { space: space!, segments: [], next: 1 }; // another writer may just have left; without a manifest a space was given
      if (existing === undefined) await writeManifest(folder, manifest);
      const store = new FolderStore(folder, manifest, lock);
      await store.#replay();
      await store.#sweep();
      return store;
    } catch (error) {
      await lock[Symbol.asyncDispose]();
      throw error;
    }
  }

  static async #reader(folder: string, first: Manifest, signal: AbortSignal | undefined): Promise<FolderStore> {
    let manifest = first;
    for (let attempt = 1; ; attempt++) {
      signal?.throwIfAborted();
      const store = new FolderStore(folder, manifest, undefined);
      try {
        await store.#replay();
        await store.#load();
        return store;
      } catch (error) {
        const now = await readManifest(folder);
        if (attempt === ATTEMPTS || now === undefined || now.next === manifest.next || !isQuerentError(error)) throw error;
        manifest = now;
      }
    }
  }

  get size(): number {
    return this.#entries.size;
  }

  version(id: string): Promise<string | undefined> {
    return Promise.resolve(this.#entries.get(id)?.version);
  }

  async *ids(prefix: string): AsyncGenerator<string, void> {
    for (const id of this.#entries.keys()) if (id.startsWith(prefix)) yield id;
  }

  async add(rows: readonly StoreRow[]): Promise<void> {
    this.#assertWriting();
    for (const { id, version, vectors } of rows) {
      assertVectors(vectors, this.space, this.space.queries);
      const quantised = quantise(vectors, this.space.shared);
      const { rows: waiting } = this.#pending;
      this.#drop(id);
      waiting.push({ entry: { id, version }, vectors: quantised });
      this.#entries.set(id, { row: this.#ids.length, version });
      this.#ids.push(id);
      if (this.#isLoaded) this.#append(quantised);
      if (waiting.length >= PENDING_ROWS) await this.flush();
    }
  }

  remove(ids: readonly string[]): Promise<void> {
    this.#assertWriting();
    for (const id of ids) {
      if (!this.#entries.has(id)) continue;
      this.#pending.removed.add(id);
      this.#drop(id);
    }
    return Promise.resolve();
  }

  flush(): Promise<void> {
    this.#flushing = this.#flushing.catch(() => undefined).then(() => this.#write());
    return this.#flushing;
  }

  async search(vectors: Float32Array, { top, signal }: StoreSearchOptions): Promise<readonly StoreHit[]> {
    const asked = assertVectors(vectors, this.space);
    await this.#load();
    const query = scanQuery(vectors, this.space.shared);
    const isImage = asked > 1 && asked === this.space.queries;
    const isCoarse = isImage && this.#entries.size > CANDIDATES;
    const best = new TopHits(isCoarse ? Math.max(CANDIDATES, 4 * top) : top);
    for (const [index, block] of this.#blocks.entries()) {
      if (index > 0) await setImmediate();
      signal?.throwIfAborted();
      this.#offer(best, isCoarse ? block.aligned(query) : largestMeans(block, query), index);
    }
    if (!isCoarse) return this.#hits(best);
    const fine = new TopHits(top);
    for (const { row } of best.sorted()) fine.offer(this.#block(row).meanOfLargest(query, row % this.#blockRows), row);
    return this.#hits(fine);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= (async () => {
      try {
        if (this.#lock === undefined) return;
        await this.flush();
        const dead = this.#ids.length - this.#entries.size;
        if (this.#manifest.segments.length > MANY_SEGMENTS || dead > Math.max(this.#entries.size, 256)) await this.#join();
      } finally {
        await this.#lock?.[Symbol.asyncDispose]();
      }
    })();
    return this.#closing;
  }

  get #blockRows(): number {
    return rowsPerBlock(this.space.queries, this.space.shared);
  }

  #block(row: number): ScanBlock {
    return this.#blocks[Math.floor(row / this.#blockRows)]!; // every row is in a block once they are loaded
  }

  #offer(best: TopHits, scores: Float32Array, block: number): void {
    const start = block * this.#blockRows;
    for (let i = 0; i < scores.length; i++) {
      const score = scores[i]!;
      if (score > best.threshold && this.#ids[start + i] !== undefined) best.offer(score, start + i);
    }
  }

  #hits(best: TopHits): StoreHit[] {
    return best.sorted().flatMap(({ row, score }) => {
      const id = this.#ids[row]; // it may have been removed since
      return id === undefined ? [] : [{ id, similarity: score }];
    });
  }

  #drop(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#ids[entry.row] = undefined;
    this.#entries.delete(id);
    const waiting = this.#pending.rows;
    const at = entry.row - (this.#ids.length - waiting.length);
    if (at >= 0) waiting[at] = { ...waiting[at]!, entry: undefined };
  }

  #append(vectors: QuantisedVectors): void {
    const { queries, shared } = this.space;
    const rows = vectors.scales.length / queries;
    for (let done = 0; done < rows; ) {
      let block = this.#blocks.at(-1);
      if (block === undefined || block.rows === block.capacity) {
        block = new ScanBlock(queries, shared);
        this.#blocks.push(block);
      }
      done += block.append(vectors, done);
    }
  }

  /** Ids and versions of all segments. */
  async #replay(): Promise<void> {
    for (const segment of this.#manifest.segments) {
      const { removed, rows } = await readEntries(this.#folder, segment);
      for (const id of removed) this.#drop(id);
      for (const entry of rows) {
        if (entry !== undefined) {
          this.#drop(entry.id);
          this.#entries.set(entry.id, { row: this.#ids.length, version: entry.version });
        }
        this.#ids.push(entry?.id);
      }
    }
  }

  /** Vectors of all segments, and of what waits: into memory, once. */
  #load(): Promise<void> {
    if (this.#loading === undefined) {
      const loading = this.#flushing.catch(() => undefined).then(async () => {
        this.#blocks.length = 0;
        for (const segment of this.#manifest.segments) this.#append(await readVectors(this.#folder, segment, this.space));
        for (const { vectors } of this.#pending.rows) this.#append(vectors);
        this.#isLoaded = true;
      });
      this.#flushing = loading; // nothing is written meanwhile: rows keep their places
      this.#loading = loading;
      loading.catch(() => (this.#loading = undefined));
    }
    return this.#loading;
  }

  async #write(): Promise<void> {
    const taken = this.#pending;
    if (taken.rows.length === 0 && taken.removed.size === 0) return;
    this.#pending = { rows: [], removed: new Set() };
    try {
      const segment = await writeSegment(this.#folder, segmentName(this.#manifest.next), { removed: [...taken.removed], rows: taken.rows.map(({ entry }) => entry) }, taken.rows.map(({ vectors }) => vectors));
      await this.#commit([...this.#manifest.segments, segment], this.#manifest.next + 1);
    } catch (error) {
      const since = this.#pending;
      this.#pending = { rows: [...taken.rows, ...since.rows], removed: new Set([...taken.removed, ...since.removed]) };
      throw error;
    }
  }

  async #commit(segments: readonly SegmentRecord[], next: number): Promise<void> {
    const manifest = { ...this.#manifest, segments, next };
    await writeManifest(this.#folder, manifest);
    this.#manifest = manifest;
  }

  /** Writes what is alive as few segments and forgets the others. Only when closing: rows get other numbers. */
  async #join(): Promise<void> {
    await this.#load();
    const live = [...this.#entries].sort(([, a], [, b]) => a.row - b.row);
    const segments: SegmentRecord[] = [];
    for (let at = 0; at < live.length; at += this.#blockRows) {
      const some = live.slice(at, at + this.#blockRows);
      const vectors = some.map(([, { row }]) => this.#block(row).row(row % this.#blockRows));
      segments.push(await writeSegment(this.#folder, segmentName(this.#manifest.next + segments.length), { removed: [], rows: some.map(([id, { version }]) => ({ id, version })) }, vectors));
    }
    await this.#commit(segments, this.#manifest.next + segments.length);
    await this.#sweep();
  }

  /** Deletes what the manifest does not name: leftovers of a killed writer, or joined segments. */
  async #sweep(): Promise<void> {
    const named = new Set(['index.json', 'writer.lock', ...this.#manifest.segments.flatMap(({ name }) => [`${name}.vectors`, `${name}.entries`])]);
    for (const file of await readdir(this.#folder)) if (OWN_FILE.test(file) && !named.has(file)) await rm(join(this.#folder, file), { force: true });
  }

  #assertWriting(): void {
    if (this.#lock !== undefined && this.#closing === undefined) return;
    throw new QuerentError('QRT_USAGE', `${this.#folder} is ${this.#closing === undefined ? 'open for reading only' : 'closed'}.`, { fix: 'Open it with { write: true }.' });
  }
}

/** For each row: the mean over the question's vectors of the largest cosine with the row's. */
function largestMeans(block: ScanBlock, query: ScanQuery): Float32Array {
  if (query.asked === 1) return block.largest(query);
  const means = new Float32Array(block.rows);
  for (let i = 0; i < query.asked; i++) block.largest(query, i).forEach((value, row) => (means[row]! += value / query.asked));
  return means;
}

function segmentName(number: number): string {
  return String(number).padStart(6, '0');
}

/** A folder with other things in it is not made an index. */
async function assertOurs(folder: string): Promise<void> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return;
    throw fileError('read', folder, cause);
  }
  const other = names.find((name) => !OWN_FILE.test(name));
  if (other !== undefined) throw new QuerentError('QRT_STORE', `${folder} holds other files (${other}): it is not made an index.`, { fix: 'Name a new folder.', details: { folder } });
}

/** The embedded store as a plugin: `location` is a folder. */
const folderStore: StorePlugin = defineStore({
  name: 'folder',
  description: 'Vectors in a folder, searched in memory.',
  open: (location, options = {}) => FolderStore.open(location, options),
});
export default folderStore;
