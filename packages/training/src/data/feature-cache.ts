/**
 * Features of a frozen encoder, computed once: for each image, one view as it is and any number of augmented ones
 * (random crops, flips). One file of fp16 rows `[image][view][patches][width]`, read row by row, so that a cache far
 * larger than memory still serves a small machine. A build that is killed goes on where it was.
 */
import { open, rename, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import type { TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import { float16ToFloat32, float32ToFloat16 } from '@querent/hub';

export interface FeatureCache {
  readonly images: number;
  readonly views: number;
  readonly patches: number;
  readonly width: number;
  /** Features of the given images, each in the given view: float32 [images, patches, width]. */
  read(images: readonly number[], views: readonly number[]): Promise<TensorData<'float32'>>;
  close(): Promise<void>;
}

export interface FeatureCacheOptions {
  readonly file: string;
  readonly images: number;
  readonly views: number;
  readonly patches: number;
  readonly width: number;
  /** All views of one image: float32 [views, patches, width]. */
  readonly compute: (image: number) => Promise<Float32Array>;
  /** Images computed at a time. */
  readonly concurrency?: number;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** Opens the cache, after computing what it lacks. @throws QuerentError QRT_FILE when it cannot be written or has another size. */
export async function openFeatureCache(options: FeatureCacheOptions): Promise<FeatureCache> {
  const { file, images, views, patches, width } = options;
  const rowBytes = patches * width * 2;
  const imageBytes = views * rowBytes;
  const size = await stat(file).then((s) => s.size, () => undefined);
  if (size === undefined) await build(options, imageBytes);
  else if (size !== images * imageBytes) {
    throw new QuerentError('QRT_FILE', `The feature cache ${file} has ${size} bytes; ${images} images of ${views} views need ${images * imageBytes}.`, {
      fix: 'Delete it, and it is computed again.',
    });
  }
  const handle = await open(file, 'r');
  return {
    images, views, patches, width,
    read: async (wanted, viewOf) => {
      const bytes = Buffer.alloc(wanted.length * rowBytes);
      await Promise.all(wanted.map((image, i) => readExactly(handle, bytes, i * rowBytes, rowBytes, image * imageBytes + viewOf[i]! * rowBytes)));
      const words = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
      return { dtype: 'float32', shape: [wanted.length, patches, width], data: float16ToFloat32(words) };
    },
    close: () => handle.close(),
  };
}

async function build(options: FeatureCacheOptions, imageBytes: number): Promise<void> {
  const partial = `${options.file}.partial`;
  const handle = await open(partial, 'a+');
  try {
    const { size } = await handle.stat();
    let done = Math.floor(size / imageBytes);
    await handle.truncate(done * imageBytes); // a row cut short by a kill
    const concurrency = options.concurrency ?? 8;
    while (done < options.images) {
      options.signal?.throwIfAborted();
      const count = Math.min(concurrency, options.images - done);
      const features = await Promise.all(Array.from({ length: count }, (_, i) => options.compute(done + i)));
      for (const [i, values] of features.entries()) {
        if (values.length * 2 !== imageBytes) {
          throw new QuerentError('QRT_PLUGIN_INVALID', `The encoder gave ${values.length} numbers for image ${done + i}; ${imageBytes / 2} were expected: [${options.views}, ${options.patches}, ${options.width}].`, {
            fix: "The encoder plugin's patches() and width() must agree with its graph.",
          });
        }
        await handle.appendFile(new Uint8Array(float32ToFloat16(values).buffer));
      }
      done += count;
      options.onProgress?.(done, options.images);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(partial, options.file);
}

async function readExactly(handle: FileHandle, target: Buffer, offset: number, length: number, position: number): Promise<void> {
  const { bytesRead } = await handle.read(target, offset, length, position);
  if (bytesRead !== length) throw new QuerentError('QRT_FILE', `The feature cache ended at byte ${position + bytesRead}.`, { fix: 'Delete it, and it is computed again.' });
}
