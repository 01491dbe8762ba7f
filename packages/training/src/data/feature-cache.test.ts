import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { FeatureCacheOptions } from './feature-cache.ts';
import { openFeatureCache } from './feature-cache.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-cache-'));
});
afterEach(() => rm(folder, { recursive: true }));

const SIZE = { images: 11, views: 2, patches: 3, width: 4 } as const;
const ROW = SIZE.patches * SIZE.width;

/** Values that fp16 holds exactly: which image, view and place they are of. */
function features(image: number): Float32Array {
  return Float32Array.from({ length: SIZE.views * ROW }, (_, i) => image + i / 32);
}

function options(change: Partial<FeatureCacheOptions> = {}): FeatureCacheOptions & { readonly asked: number[] } {
  const asked: number[] = [];
  return {
    file: join(folder, 'features.f16'),
    ...SIZE,
    concurrency: 3,
    compute: async (image) => {
      asked.push(image);
      return features(image);
    },
    ...change,
    asked,
  };
}

it('computes each image once and reads any views of any images', async () => {
  const given = options();
  const cache = await openFeatureCache(given);
  const read = await cache.read([10, 0, 10], [1, 0, 0]);
  expect(read.shape).toEqual([3, 3, 4]);
  expect(read.data).toEqual(Float32Array.of(...features(10).subarray(ROW), ...features(0).subarray(0, ROW), ...features(10).subarray(0, ROW)));
  await cache.close();
  expect(given.asked).toEqual(Array.from({ length: 11 }, (_, i) => i));

  const again = options();
  await (await openFeatureCache(again)).close();
  expect(again.asked).toEqual([]);
});

it('goes on after a kill in the middle of a row', async () => {
  const failing = options({
    compute: async (image) => {
      if (image === 7) throw new Error('killed');
      return features(image);
    },
  });
  await expect(openFeatureCache(failing)).rejects.toThrow('killed');
  const partial = join(folder, 'features.f16.partial');
  const { size } = await stat(partial);
  await truncate(partial, size - 5);

  const progress: number[] = [];
  const rest = options({ onProgress: (done) => progress.push(done) });
  const cache = await openFeatureCache(rest);
  expect(rest.asked[0]).toBe(5); // six were written, the sixth was cut
  expect(progress.at(-1)).toBe(11);
  for (let image = 0; image < 11; image++) expect((await cache.read([image], [1])).data).toEqual(features(image).subarray(ROW));
  await cache.close();
});

it('serves many reads at a time', async () => {
  const cache = await openFeatureCache(options());
  const reads = await Promise.all(Array.from({ length: 40 }, (_, i) => cache.read([i % 11], [i % 2])));
  reads.forEach((read, i) => expect(read.data).toEqual(features(i % 11).subarray((i % 2) * ROW, ((i % 2) + 1) * ROW)));
  await cache.close();
});

it('refuses a file of another size and leaves it alone', async () => {
  const { file } = options();
  await writeFile(file, 'not features');
  await expect(openFeatureCache(options())).rejects.toMatchObject({ code: 'QRT_FILE' });
  expect(await readFile(file, 'utf8')).toBe('not features');
});

it('refuses an encoder that gives another number of features than it says', async () => {
  await expect(openFeatureCache(options({ compute: async () => new Float32Array(5) }))).rejects.toMatchObject({ code: 'QRT_PLUGIN_INVALID' });
});

it('refuses an image that the file does not have', async () => {
  const cache = await openFeatureCache(options());
  await expect(cache.read([11], [0])).rejects.toMatchObject({ code: 'QRT_FILE' });
  await cache.close();
});

it("stops with the signal's reason and keeps what is done", async () => {
  const controller = new AbortController();
  const stopped = options({ signal: controller.signal, onProgress: () => controller.abort(new Error('enough')) });
  await expect(openFeatureCache(stopped)).rejects.toThrow('enough');
  const rest = options();
  await (await openFeatureCache(rest)).close();
  expect(rest.asked[0]).toBe(3);
});
