/**
 * Filling a store: images that are not in it, or have changed, are decoded, encoded and added; the others cost a look at their
 * version. A flow underneath: decoding of the next images overlaps the encoder, and memory stays flat however many there are.
 */
import { from, isFailure, mapBatches, mapBounded } from '@querent/core';
import type { ImageSource, LoadedModel, TensorData, VectorStore } from '@querent/core';
import { batching, seen } from './stages.ts';
import type { BatchedOptions } from './stages.ts';
import { stack, unstack } from './tensors.ts';

/** An image that is to be in the store. */
export interface ImageToIndex {
  readonly id: string;
  /** Another one than the store has means that the image has changed. */
  readonly version: string;
  readonly image: ImageSource;
}

/** What filling says while it goes on. */
export type IndexEvent =
  | { readonly type: 'added' | 'unchanged'; readonly id: string }
  /** It cannot be decoded; what the store had of it is removed. */
  | { readonly type: 'failed'; readonly id: string; readonly error: Error };

export interface IndexOptions extends BatchedOptions {
  /** Added images are made durable at least this often. Default 10 s. */
  readonly flushMs?: number;
  readonly signal?: AbortSignal;
}

const FLUSH_MS = 10_000;

/** Brings the store up to date with the images. What was added is durable when it ends, also when it is left early or fails. */
export async function* indexImages(model: LoadedModel, images: AsyncIterable<ImageToIndex> | Iterable<ImageToIndex>, store: VectorStore, options: IndexOptions = {}): AsyncGenerator<IndexEvent, void, undefined> {
  const { flushMs = FLUSH_MS, signal, ...batches } = options;
  const call = signal === undefined ? {} : { signal };
  const unchanged: string[] = [];
  const fresh = async function* (): AsyncGenerator<ImageToIndex> {
    for await (const image of images) {
      if ((await store.version(image.id)) === image.version) unchanged.push(image.id);
      else yield image;
    }
  };
  const vectors = from(fresh(), call).pipe(
    mapBounded(({ image }: ImageToIndex) => image, { onError: 'item' }),
    seen(model, batches),
    mapBatches<ImageToIndex, TensorData<'float32'>, TensorData<'float32'>>(async (rows, context) => unstack(await model.embedImages(stack(rows), context)), batching(batches)),
  );
  let flushed = performance.now();
  try {
    for await (const result of vectors) {
      for (const id of unchanged.splice(0)) yield { type: 'unchanged', id };
      const { id, version } = result.item;
      if (isFailure(result)) {
        await store.remove([id], call);
        yield { type: 'failed', id, error: result.error };
        continue;
      }
      await store.add([{ id, version, vectors: result.value.data.slice() }], call);
      yield { type: 'added', id };
      if (performance.now() - flushed < flushMs) continue;
      await store.flush();
      flushed = performance.now();
    }
    for (const id of unchanged.splice(0)) yield { type: 'unchanged', id };
  } finally {
    await store.flush();
  }
}
