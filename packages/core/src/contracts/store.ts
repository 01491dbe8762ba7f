/**
 * What a store of image vectors promises: rows added once, searched many times. Types only. `packages/tasks` has the embedded one
 * (a folder on disk), other packages bring servers; the task retrieve knows them by this contract only.
 */
import type { PluginBase } from './plugin.ts';

/** What all rows of a store share: written when it is made, compared when it is opened again. */
export interface StoreSpace {
  /** Vectors of an image: one a query. */
  readonly queries: number;
  /** Length of a vector. */
  readonly shared: number;
  /** Whose vectors they are: for people, and for messages. */
  readonly model: string;
  /** Unit vector of a fixed text, float32 [shared]: vectors of another model would give another one. */
  readonly probe: Float32Array;
}

/** One image of a store. */
export interface StoreEntry {
  /** Unique within the store: for the command line a path relative to the store, or a URL. */
  readonly id: string;
  /** What the image was when it was added (size and time of its file): another one means that it is stale. */
  readonly version: string;
}

export interface StoreRow extends StoreEntry {
  /** Unit vectors, float32 [queries, shared], row-major. */
  readonly vectors: Float32Array;
}

export interface StoreHit {
  readonly id: string;
  /** Mean over the asked vectors of the largest cosine with the image's own, in [-1, 1]; for one vector just the largest (ITC). */
  readonly similarity: number;
}

export interface StoreSearchOptions {
  /** Hits wanted, best first. */
  readonly top: number;
  readonly signal?: AbortSignal;
}

export interface StoreOpenOptions {
  /** The space of what will be added. A store that is not there is made with it; without it only an existing one is opened. */
  readonly space?: StoreSpace;
  /** Rows will be added or removed. Default false. */
  readonly write?: boolean;
  readonly signal?: AbortSignal;
}

/** An open store. Closing it (`Symbol.asyncDispose`) makes everything durable that was added. */
export interface VectorStore extends AsyncDisposable {
  readonly space: StoreSpace;
  /** Images in it. */
  readonly size: number;
  /** The version of an image, or undefined when it is not in it. */
  version(id: string): Promise<string | undefined>;
  /** Ids that begin with a prefix; all of them for `''`. */
  ids(prefix: string): AsyncIterable<string>;
  /** Adds images; one that is there already is replaced. Not all need be durable before {@link VectorStore.flush}. */
  add(rows: readonly StoreRow[], options?: { readonly signal?: AbortSignal }): Promise<void>;
  remove(ids: readonly string[], options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** What was added or removed so far survives a kill from here on. */
  flush(): Promise<void>;
  /**
   * The images most like the asked vectors.
   *
   * @param vectors unit vectors, float32 [asked, shared]: one for a text, one a query for an image
   */
  search(vectors: Float32Array, options: StoreSearchOptions): Promise<readonly StoreHit[]>;
}

/** A kind of store. */
export interface StorePlugin extends PluginBase<'store'> {
  /**
   * Opens a store, or makes one when `options.space` is given.
   *
   * @param location a folder, or a server's URL
   * @throws QuerentError QRT_STORE when it is damaged, not there, or was made by another model.
   */
  open(location: string, options?: StoreOpenOptions): Promise<VectorStore>;
}
