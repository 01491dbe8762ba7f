/**
 * A collection of a Qdrant server as a store: a point an image, its queries one multivector, compared by `max_sim`, which for a text
 * is the largest cosine over the queries (ITC). A point of its own holds the space: another model's vectors are refused.
 */
import { createHash } from 'node:crypto';
import { QuerentError } from '@querent/core';
import type { StoreHit, StoreOpenOptions, StoreRow, StoreSearchOptions, StoreSpace, VectorStore } from '@querent/core';
import { createRest } from './rest.ts';
import type { Rest } from './rest.ts';

/** Points of one request. */
const BATCH = 64;
/** Points of one page when ids are listed. */
const PAGE = 1000;
/** Two runs of one model agree on its probe far better than this. */
const SAME = 0.999;
/** The id that is nobody's: images' ids are hashed to UUIDs, this point's is fixed. */
const SPACE_POINT = '00000000-0000-0000-0000-000000000000';
const IMAGES = { must: [{ key: 'kind', match: { value: 'image' } }] };

type Json = Readonly<Record<string, unknown>>;

export class QdrantStore implements VectorStore {
  readonly space: StoreSpace;
  readonly #rest: Rest;
  readonly #path: string;
  #size: number;

  private constructor(rest: Rest, path: string, space: StoreSpace, size: number) {
    this.#rest = rest;
    this.#path = path;
    this.space = space;
    this.#size = size;
  }

  /** @throws QuerentError QRT_USAGE for a location that is no URL, QRT_STORE for all that goes wrong with the server. */
  static async open(location: string, { space, signal }: StoreOpenOptions = {}): Promise<QdrantStore> {
    const { base, collection } = parseLocation(location);
    const rest = createRest(base, process.env['QDRANT_API_KEY']);
    const path = `collections/${encodeURIComponent(collection)}`;
    const call = signal === undefined ? {} : { signal };
    const there = await rest.call('GET', path, undefined, { ...call, isMissingFine: true });
    if (there === undefined) {
      if (space === undefined) throw new QuerentError('QRT_STORE', `${location} has no collection ${collection}.`, { fix: `Make it: querent index PHOTOS --store qdrant --out ${location}`, details: { location } });
      const vectors = { size: space.shared, distance: 'Dot', on_disk: true, multivector_config: { comparator: 'max_sim' } };
      await rest.call('PUT', path, { vectors }, call);
      for (const field_name of ['kind', 'id']) await rest.call('PUT', `${path}/index?wait=true`, { field_name, field_schema: 'keyword' }, call);
      const payload = { kind: 'space', queries: space.queries, model: space.model };
      await rest.call('PUT', `${path}/points?wait=true`, { points: [{ id: SPACE_POINT, vector: [Array.from(space.probe)], payload }] }, call);
    }
    const stored = await readSpace(rest, path, location, call);
    if (space !== undefined) assertSame(stored, space, location);
    return new QdrantStore(rest, path, stored, await count(rest, path, call));
  }

  get size(): number {
    return this.#size;
  }

  async version(id: string): Promise<string | undefined> {
    const [point] = await this.#points([pointId(id)]);
    const { version } = payloadOf(point);
    return typeof version === 'string' ? version : undefined;
  }

  async *ids(prefix: string): AsyncGenerator<string, void> {
    for (let offset: unknown = null; ; ) {
      const page = asObject(await this.#rest.call('POST', `${this.#path}/points/scroll`, { filter: IMAGES, limit: PAGE, offset, with_payload: ['id'], with_vector: false }));
      for (const point of asList(page['points'])) {
        const { id } = payloadOf(point);
        if (typeof id === 'string' && id.startsWith(prefix)) yield id;
      }
      offset = page['next_page_offset'] ?? null;
      if (offset === null) return;
    }
  }

  async add(rows: readonly StoreRow[], { signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const { queries, shared } = this.space;
    const call = signal === undefined ? {} : { signal };
    const points = rows.map(({ id, version, vectors }) => {
      if (vectors.length !== queries * shared || !vectors.every(Number.isFinite)) {
        throw new QuerentError('QRT_USAGE', `${id} has ${vectors.length} numbers; [${queries}, ${shared}] finite ones were expected.`, { fix: 'Give vectors of the model that the store was made with.' });
      }
      return { id: pointId(id), vector: split(vectors, shared), payload: { kind: 'image', id, version } };
    });
    for (let at = 0; at < points.length; at += BATCH) await this.#rest.call('PUT', `${this.#path}/points?wait=true`, { points: points.slice(at, at + BATCH) }, call);
    this.#size = await count(this.#rest, this.#path, call);
  }

  async remove(ids: readonly string[], { signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const call = signal === undefined ? {} : { signal };
    if (ids.length === 0) return;
    for (let at = 0; at < ids.length; at += PAGE) await this.#rest.call('POST', `${this.#path}/points/delete?wait=true`, { points: ids.slice(at, at + PAGE).map(pointId) }, call);
    this.#size = await count(this.#rest, this.#path, call);
  }

  /** Every addition has waited for the server already. */
  flush(): Promise<void> {
    return Promise.resolve();
  }

  async search(vectors: Float32Array, { top, signal }: StoreSearchOptions): Promise<readonly StoreHit[]> {
    const { shared } = this.space;
    const asked = vectors.length / shared;
    if (!Number.isInteger(asked) || asked === 0) throw new QuerentError('QRT_USAGE', `${vectors.length} numbers are no vectors [n, ${shared}].`, { fix: 'Give vectors of the model that the store was made with.' });
    const body = { query: split(vectors, shared), filter: IMAGES, limit: top, with_payload: ['id'] };
    const answer = asObject(await this.#rest.call('POST', `${this.#path}/points/query`, body, signal === undefined ? {} : { signal }));
    return asList(answer['points']).flatMap((point) => {
      const { score } = asObject(point);
      const { id } = payloadOf(point);
      return typeof id === 'string' && typeof score === 'number' ? [{ id, similarity: score / asked }] : []; // max_sim sums over the asked vectors
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.flush();
  }

  async #points(ids: readonly string[]): Promise<readonly unknown[]> {
    return asList(await this.#rest.call('POST', `${this.#path}/points`, { ids, with_payload: true, with_vector: false }));
  }
}

function parseLocation(location: string): { readonly base: URL; readonly collection: string } {
  const url = URL.canParse(location) ? new URL(location) : undefined;
  const parts = url?.pathname.split('/').filter((part) => part !== '') ?? [];
  const collection = parts.pop();
  if (url === undefined || !/^https?:$/.test(url.protocol) || collection === undefined) {
    throw new QuerentError('QRT_USAGE', `${location} is no address of a Qdrant collection.`, { fix: 'Give http://HOST:6333/COLLECTION.' });
  }
  return { base: new URL(`/${parts.map((part) => `${part}/`).join('')}`, url), collection: decodeURIComponent(collection) };
}

async function readSpace(rest: Rest, path: string, location: string, call: { readonly signal?: AbortSignal }): Promise<StoreSpace> {
  const [point] = asList(await rest.call('POST', `${path}/points`, { ids: [SPACE_POINT], with_payload: true, with_vector: true }, call));
  const { queries, model } = payloadOf(point);
  const vector = point === undefined ? [] : asList(asObject(point)['vector']);
  const probe: readonly unknown[] = Array.isArray(vector[0]) ? vector[0] : vector;
  if (typeof queries !== 'number' || typeof model !== 'string' || probe.length === 0 || !probe.every((value): value is number => typeof value === 'number')) {
    throw new QuerentError('QRT_STORE', `${location} is a collection that Querent did not make.`, { fix: 'Name another collection.', details: { location } });
  }
  return { queries, shared: probe.length, model, probe: Float32Array.from(probe) };
}

function assertSame(there: StoreSpace, wanted: StoreSpace, location: string): void {
  const cosine = there.shared === wanted.shared ? there.probe.reduce((sum, value, k) => sum + value * (wanted.probe[k] ?? 0), 0) : 0;
  if (there.queries === wanted.queries && cosine >= SAME) return;
  throw new QuerentError('QRT_STORE', `${location} holds vectors [${there.queries}, ${there.shared}] of ${there.model}, not those of ${wanted.model}.`, {
    fix: `Name the model it was made with (${there.model}), or another collection.`,
    details: { location, cosine },
  });
}

async function count(rest: Rest, path: string, call: { readonly signal?: AbortSignal }): Promise<number> {
  const { count: found } = asObject(await rest.call('POST', `${path}/points/count`, { filter: IMAGES, exact: true }, call));
  return typeof found === 'number' ? found : 0;
}

/** Qdrant's ids are UUIDs: the first 128 bits of a hash, dressed as one. */
function pointId(id: string): string {
  const hex = createHash('sha256').update(id).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), `5${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join('-');
}

function split(vectors: Float32Array, shared: number): number[][] {
  return Array.from({ length: vectors.length / shared }, (_, i) => Array.from(vectors.subarray(i * shared, (i + 1) * shared)));
}

function asObject(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {}; // fields are looked at one by one
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function payloadOf(point: unknown): Json {
  return asObject(asObject(point)['payload']);
}
