/**
 * Searching a store of image vectors by a text or an image, as BLIP-2 does it (LAVIS `compute_sim_matrix`): the largest cosine over
 * an image's queries chooses candidates (ITC), and of these the matching head reads image and text together (ITM), see `LoadedModel.rerank`.
 * Between two images there is nothing to read: candidates are the answer.
 */
import { QuerentError } from '@querent/core';
import type { ImageSource, LoadedModel, StoreSpace, TensorData, VectorStore } from '@querent/core';
import { assertSpace } from './index-store/space.ts';
import { stack, unstack } from './tensors.ts';

/** What is searched for: a text or an image. */
export interface RetrieveQuery {
  readonly text?: string;
  readonly image?: ImageSource;
}

export interface RetrieveOptions {
  /** Images wanted. Default 10. */
  readonly top?: number;
  /** Candidates that the matching head reads; 0 is none. Default 128, as in the paper. Each is decoded and encoded once. */
  readonly rerank?: number;
  readonly signal?: AbortSignal;
}

/** An image that was found. */
export interface Retrieved {
  readonly id: string;
  /** What they are ordered by: the model's `rerank` where the matching head read it, else `similarity`. */
  readonly score: number;
  /** Largest cosine over the image's queries (ITC); for an image asked with, the mean of that over its queries. */
  readonly similarity: number;
  /** The matching head's log-odds (ITM). */
  readonly logit?: number;
  /** Why the matching head could not read it: it stands behind those that were read. */
  readonly error?: Error;
}

export interface RetrieverOptions {
  /** Where an image of the store is. Default: its id is a path or a URL. */
  readonly locate?: (id: string) => ImageSource;
  /** Bytes of encoded candidates that are kept for the next search. Default 256 MiB. */
  readonly cacheBytes?: number;
}

export interface Retriever {
  search(query: RetrieveQuery, options?: RetrieveOptions): Promise<readonly Retrieved[]>;
}

type Features = TensorData<'float32'>;

const TOP = 10;
const RERANK = 128;
const CACHE_BYTES = 256 << 20;
/** Images that are encoded, and pairs that are read, together. */
const BATCH = 16;
/** A text that every model embeds: its vector tells models apart. */
const PROBE = 'a photograph';

/** The space of a model's vectors, for opening a store. @throws QuerentError QRT_MODEL_UNSUPPORTED for a model that cannot embed. */
export async function spaceOf(model: LoadedModel, signal?: AbortSignal): Promise<StoreSpace> {
  const given = signal === undefined ? {} : { signal };
  const probe = await model.embedTexts([PROBE], given);
  const pixels = await model.prepare(GREY, given);
  const [, queries = 0, shared = 0] = (await model.embedImages(await model.encode([pixels], given), given)).shape;
  return { queries, shared, model: model.name, probe: probe.data };
}

/** An image that can always be decoded. */
const GREY: ImageSource = { width: 8, height: 8, channels: 3, data: new Uint8Array(192).fill(128) };

/**
 * A search over an open store, which stays the caller's.
 *
 * @throws QuerentError QRT_STORE when the store holds vectors of another model.
 */
export async function createRetriever(model: LoadedModel, store: VectorStore, options: RetrieverOptions = {}): Promise<Retriever> {
  const { locate = (id: string) => id, cacheBytes = CACHE_BYTES } = options;
  assertSpace(store.space, await spaceOf(model), 'The store');
  const cache = new Map<string, Features>();
  let cached = 0;

  /** Features of candidates, or why there are none; those kept are not encoded again. */
  const featuresOf = async (ids: readonly string[], call: { signal?: AbortSignal }): Promise<(Features | Error)[]> => {
    const prepared = await Promise.all(ids.map((id) => cache.get(id) ?? model.prepare(locate(id), call).catch((error: unknown) => asError(error))));
    call.signal?.throwIfAborted();
    const fresh = ids.flatMap((id, i) => (cache.has(id) || prepared[i] instanceof Error ? [] : [i]));
    const encoded = fresh.length === 0 ? [] : unstack(await model.encode(fresh.map((i) => prepared[i] as Features), call)); // errors were left out
    const known = ids.map((id) => cache.get(id));
    fresh.forEach((i, at) => keep(ids[i]!, encoded[at]!));
    return ids.map((_, i) => known[i] ?? (prepared[i] instanceof Error ? prepared[i] : encoded[fresh.indexOf(i)]!));
  };
  const keep = (id: string, features: Features): void => {
    cache.set(id, { ...features, data: features.data.slice() });
    cached += features.data.byteLength;
    for (const [oldest, { data }] of cache) {
      if (cached <= cacheBytes) break;
      cache.delete(oldest);
      cached -= data.byteLength;
    }
  };

  return {
    async search({ text, image }, { top = TOP, rerank = RERANK, signal } = {}) {
      if ((text === undefined) === (image === undefined)) {
        throw new QuerentError('QRT_USAGE', `A search was given ${text === undefined ? 'neither a text nor an image' : 'both a text and an image'}.`, { fix: 'Give { text } or { image }.' });
      }
      const call = signal === undefined ? {} : { signal };
      if (image !== undefined) {
        const vectors = await model.embedImages(await model.encode([await model.prepare(image, call)], call), call);
        return (await store.search(vectors.data, { top, ...call })).map(({ id, similarity }) => ({ id, similarity, score: similarity }));
      }
      const asked = text ?? '';
      const canRead = rerank > 0 && model.rerank !== undefined && model.capabilities.has('match');
      const hits = await store.search((await model.embedTexts([asked], call)).data, { top: canRead ? Math.max(top, rerank) : top, ...call });
      if (!canRead) return hits.map(({ id, similarity }) => ({ id, similarity, score: similarity }));
      const found: Retrieved[] = [];
      const failed: Retrieved[] = [];
      const candidates = hits.slice(0, rerank);
      for (let at = 0; at < candidates.length; at += BATCH) {
        signal?.throwIfAborted();
        const some = candidates.slice(at, at + BATCH);
        const features = await featuresOf(some.map(({ id }) => id), call);
        const good = some.flatMap((hit, i) => (features[i] instanceof Error ? [] : [{ hit, features: features[i]! }]));
        some.forEach(({ id, similarity }, i) => {
          const error = features[i];
          if (error instanceof Error) failed.push({ id, similarity, score: similarity, error });
        });
        if (good.length === 0) continue;
        const similarities = Float32Array.from(good, ({ hit }) => hit.similarity);
        const { scores, logits } = await model.rerank!(stack(good.map((one) => one.features)), good.map(() => asked), similarities, call); // canRead has looked
        good.forEach(({ hit: { id, similarity } }, i) => found.push({ id, similarity, logit: logits[i]!, score: scores[i]! }));
      }
      found.sort((a, b) => b.score - a.score);
      const unread = hits.slice(rerank).map(({ id, similarity }) => ({ id, similarity, score: similarity }));
      return [...found, ...failed, ...unread].slice(0, top);
    },
  };
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
