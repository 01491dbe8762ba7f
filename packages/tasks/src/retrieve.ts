/**
 * Retrieve: a text or an image → the images of an index that fit it best. The index is a folder that `querent index` makes
 * (`index-images.ts`); the search is in `retriever.ts`, which also takes other stores.
 */
import { stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { defineTask, validate } from '@querent/core';
import type { ImageSource, JsonSchema, LoadedModel, TaskPlugin, VectorStore } from '@querent/core';
import folderStore from './index-store/index-store.ts';
import { createRetriever } from './retriever.ts';
import type { RetrieveQuery, Retriever } from './retriever.ts';

export interface RetrieveInput extends RetrieveQuery {
  /** The folder of an index. */
  readonly index: string;
  /** Images wanted. Default 10. */
  readonly top?: number;
  /** Candidates that the matching head reads; 0 is none. Default 128. */
  readonly rerank?: number;
}

export interface RetrieveOutput {
  /** Best first. */
  readonly hits: readonly { readonly image: string; readonly score: number; readonly similarity: number; readonly logit?: number }[];
}

const input: JsonSchema = {
  description: 'A text or an image, and the index that is searched.',
  type: 'object',
  properties: {
    index: { type: 'string', minLength: 1, description: 'The folder of an index.' },
    text: { type: 'string', minLength: 1, description: 'What the images should show.' },
    image: { description: 'An image that they should be like: a path, a URL, the bytes of a picture, a Blob, a stream or pixels.' },
    top: { type: 'integer', minimum: 1, maximum: 100_000, description: 'Images wanted. Default 10.' },
    rerank: { type: 'integer', minimum: 0, maximum: 100_000, description: 'Candidates that the matching head reads; 0 is none. Default 128.' },
  },
  required: ['index'],
  additionalProperties: false,
};

const number: JsonSchema = { type: 'number' };
const output: JsonSchema = {
  type: 'object',
  properties: {
    hits: {
      type: 'array',
      description: 'Best first.',
      items: { type: 'object', properties: { image: { type: 'string' }, score: number, similarity: number, logit: number }, required: ['image', 'score', 'similarity'] },
    },
  },
  required: ['hits'],
};

/** Where an image of an index in a folder is: ids are paths relative to the folder that the index is in, or URLs. */
export function locateImage(index: string, id: string): string {
  return /^[a-z][a-z0-9+.-]*:/i.test(id) ? id : join(dirname(resolve(index)), id);
}

/** An index that stays open from one call to the next, as long as it does not change on disk. */
interface OpenIndex {
  readonly key: string;
  readonly model: LoadedModel;
  readonly opened: Promise<{ readonly store: VectorStore; readonly retriever: Retriever }>;
}

let lastIndex: OpenIndex | undefined;

async function openIndex(folder: string, model: LoadedModel, signal: AbortSignal): Promise<Retriever> {
  const { mtimeMs = 0 } = (await stat(join(folder, 'index.json')).catch(() => undefined)) ?? {};
  const key = `${resolve(folder)} ${mtimeMs}`;
  if (lastIndex?.key !== key || lastIndex.model !== model) {
    await closeIndex();
    const opened = folderStore.open(folder, { signal }).then(async (store) => ({ store, retriever: await createRetriever(model, store, { locate: (id) => locateImage(folder, id) }) }));
    const index: OpenIndex = { key, model, opened };
    lastIndex = index;
    opened.catch(() => lastIndex === index && (lastIndex = undefined)); // the next call tries again
  }
  return (await lastIndex.opened).retriever;
}

async function closeIndex(): Promise<void> {
  const closing = lastIndex;
  lastIndex = undefined;
  const { store } = (await closing?.opened.catch(() => undefined)) ?? {}; // what did not open holds nothing
  await store?.[Symbol.asyncDispose]();
}

const retrieve: TaskPlugin<RetrieveInput, RetrieveOutput> = defineTask<RetrieveInput, RetrieveOutput>({
  name: 'retrieve',
  description: 'Finds the images of an index that fit a text or are like an image.',
  input,
  output,
  requires: ['encode', 'embed'],
  dispose: closeIndex,

  async *run(given, { model, signal }) {
    const { index, top, rerank, ...query } = validate<RetrieveInput>(input, given, { what: 'the input of retrieve' });
    const retriever = await openIndex(index, model, signal);
    const found = await retriever.search(query satisfies { text?: string; image?: ImageSource }, { signal, ...(top === undefined ? {} : { top }), ...(rerank === undefined ? {} : { rerank }) });
    yield { hits: found.map(({ id, score, similarity, logit }) => ({ image: locateImage(index, id), score, similarity, ...(logit === undefined ? {} : { logit }) })) };
  },
});
export default retrieve;
