import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { StoreRow, StoreSpace, VectorStore } from '@querent/core';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import folderStore from './index-store.ts';

let root: string;
beforeEach(async () => void (root = await mkdtemp(join(tmpdir(), 'querent-store-'))));
afterEach(() => rm(root, { recursive: true, force: true }));

const folder = (): string => join(root, 'photos.index');
const space = (change: Partial<StoreSpace> = {}): StoreSpace => ({ queries: 3, shared: 5, model: 'tiny', probe: unit([1, 2, 3, 4, 5]), ...change });

function unit(values: readonly number[]): Float32Array {
  const length = Math.hypot(...values) || 1;
  return Float32Array.from(values, (value) => value / length);
}

/** Repeatable unit vectors [count, shared]. */
function vectors(seed: number, count: number, shared: number): Float32Array {
  const all = new Float32Array(count * shared);
  for (let i = 0; i < count; i++) all.set(unit(Array.from({ length: shared }, (_, k) => Math.sin(12.9898 * (seed * 131 + i * 17 + k) + seed) * 43758.5453 % 1)), i * shared);
  return all;
}

const row = (id: string, seed: number, { queries, shared } = space()): StoreRow => ({ id, version: `v${seed}`, vectors: vectors(seed, queries, shared) });

/** What a search should say, in float64 loops. */
function expected(rows: readonly StoreRow[], asked: Float32Array, { queries, shared } = space()): { id: string; similarity: number }[] {
  const count = asked.length / shared;
  const score = (image: Float32Array): number => {
    let sum = 0;
    for (let a = 0; a < count; a++) {
      let best = -Infinity;
      for (let q = 0; q < queries; q++) {
        let dot = 0;
        for (let k = 0; k < shared; k++) dot += asked[a * shared + k]! * image[q * shared + k]!;
        best = Math.max(best, dot);
      }
      sum += best;
    }
    return sum / count;
  };
  return rows.map((one) => ({ id: one.id, similarity: score(one.vectors) })).sort((a, b) => b.similarity - a.similarity);
}

async function filled(rows: readonly StoreRow[]): Promise<void> {
  await using store = await folderStore.open(folder(), { space: space(), write: true });
  await store.add(rows);
}

async function idsOf(store: VectorStore, prefix = ''): Promise<string[]> {
  const ids: string[] = [];
  for await (const id of store.ids(prefix)) ids.push(id);
  return ids.sort();
}

describe('searching', () => {
  it('finds what float64 loops find, for a text and for an image, within the rounding of int8', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 30 }), fc.boolean(), async (queries, shared, images, isImage) => {
        const sizes = space({ queries, shared, probe: vectors(1, 1, shared) });
        const rows = Array.from({ length: images }, (_, i) => row(`${i}.jpg`, i + 2, sizes));
        const place = join(root, `${queries}-${shared}-${images}-${String(isImage)}`);
        await using store = await folderStore.open(place, { space: sizes, write: true });
        await store.add(rows);
        const asked = vectors(99, isImage ? queries : 1, shared);
        const hits = await store.search(asked, { top: images });
        const right = new Map(expected(rows, asked, sizes).map(({ id, similarity }) => [id, similarity]));
        expect(hits.length).toBe(images);
        for (const { id, similarity } of hits) expect(Math.abs(similarity - right.get(id)!)).toBeLessThan(0.01);
        expect(hits.map((hit) => hit.similarity)).toEqual(hits.map((hit) => hit.similarity).toSorted((a, b) => b - a));
      }),
      { numRuns: 8 },
    );
  });

  it('finds an image by itself among thousands, where only candidates are compared in full', async () => {
    const rows = Array.from({ length: 3000 }, (_, i) => row(`${i}.jpg`, i));
    await filled(rows);
    await using store = await folderStore.open(folder());
    for (const i of [0, 1500, 2999]) {
      const [first] = await store.search(rows[i]!.vectors, { top: 3 });
      expect(first!.id).toBe(`${i}.jpg`);
      expect(first!.similarity).toBeGreaterThan(0.98);
    }
  });

  it('gives as many as there are, none of an empty store, and refuses vectors of another length', async () => {
    await filled([row('a', 1)]);
    await using store = await folderStore.open(folder());
    expect(await store.search(vectors(1, 1, 5), { top: 10 })).toHaveLength(1);
    await expect(store.search(vectors(1, 1, 4), { top: 1 })).rejects.toMatchObject({ code: 'QRT_USAGE' });
    await expect(store.search(new Float32Array(5).fill(NaN), { top: 1 })).rejects.toMatchObject({ code: 'QRT_USAGE' });
    await using empty = await folderStore.open(join(root, 'empty'), { space: space(), write: true });
    expect(await empty.search(vectors(1, 1, 5), { top: 10 })).toEqual([]);
  });
});

describe('growing', () => {
  it('holds what a map holds after any run of additions, removals, flushes, searches and reopenings', async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('add' as const), id: fc.integer({ min: 0, max: 9 }), seed: fc.integer({ min: 0, max: 99 }) }),
      fc.record({ do: fc.constant('remove' as const), id: fc.integer({ min: 0, max: 9 }) }),
      fc.record({ do: fc.constantFrom('flush' as const, 'search' as const, 'reopen' as const) }),
    );
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const place = join(root, `run-${run++}`);
        const model = new Map<string, StoreRow>();
        let store = await folderStore.open(place, { space: space(), write: true });
        const check = async (): Promise<void> => {
          const asked = vectors(7, 1, 5);
          const hits = await store.search(asked, { top: 20 });
          expect(hits.map(({ id }) => id).sort()).toEqual([...model.keys()].sort());
          const right = new Map(expected([...model.values()], asked).map(({ id, similarity }) => [id, similarity]));
          for (const { id, similarity } of hits) expect(Math.abs(similarity - right.get(id)!)).toBeLessThan(0.01);
        };
        for (const one of steps) {
          if (one.do === 'add') {
            const added = row(`i${one.id}`, one.seed);
            model.set(added.id, added);
            await store.add([added]);
          } else if (one.do === 'remove') {
            model.delete(`i${one.id}`);
            await store.remove([`i${one.id}`]);
          } else if (one.do === 'flush') await store.flush();
          else if (one.do === 'search') await check();
          else {
            await store[Symbol.asyncDispose]();
            store = await folderStore.open(place, { space: space(), write: true });
          }
        }
        await check();
        expect(store.size).toBe(model.size);
        for (const [id, { version }] of model) expect(await store.version(id)).toBe(version);
        await store[Symbol.asyncDispose]();
      }),
      { numRuns: 6 },
    );
  });

  it('joins many small segments when it is closed', async () => {
    {
      await using writer = await folderStore.open(folder(), { space: space(), write: true });
      for (let i = 0; i < 40; i++) {
        await writer.add([row(`${i % 20}.jpg`, i)]);
        await writer.flush();
      }
    }
    const names = await readdir(folder());
    expect(names.filter((name) => name.endsWith('.vectors')).length).toBeLessThan(33);
    await using store = await folderStore.open(folder());
    expect(await idsOf(store)).toHaveLength(20);
    expect(await store.version('3.jpg')).toBe('v23');
    expect((await store.search(vectors(23, 3, 5), { top: 1 }))[0]!.id).toBe('3.jpg');
  });

  it('lists ids by prefix', async () => {
    await filled([row('a/1', 1), row('a/2', 2), row('b/1', 3)]);
    await using store = await folderStore.open(folder());
    expect(await idsOf(store, 'a/')).toEqual(['a/1', 'a/2']);
  });
});

describe('surviving', () => {
  it('what lies on the disk at any moment of a writer opens, with all that was flushed, and takes more', async () => {
    const writing = async (): Promise<void> => {
      await using store = await folderStore.open(folder(), { space: space(), write: true });
      for (let i = 0; i < 12; i++) {
        await store.add([row(`${i}`, i)]);
        await store.flush();
        flushed = i + 1;
      }
    };
    let flushed = 0;
    let isDone = false;
    const end = writing().finally(() => (isDone = true));
    for (let moment = 0; !isDone; moment++) {
      await setImmediate();
      const least = flushed;
      const manifest = await readFile(join(folder(), 'index.json')).catch(() => undefined);
      if (manifest === undefined || least === 12) continue;
      // As a kill leaves it: the manifest of this moment, whatever else there is, the lock of a process that is gone.
      const copy = join(root, `moment-${moment}`);
      await mkdir(copy);
      for (const name of await readdir(folder())) await cp(join(folder(), name), join(copy, name)).catch(() => undefined); // temporary files vanish
      await writeFile(join(copy, 'index.json'), manifest);
      await writeFile(join(copy, 'writer.lock'), '999999999');
      await using store = await folderStore.open(copy, { space: space(), write: true });
      expect(store.size).toBeGreaterThanOrEqual(least);
      await store.add([row('new', 5)]);
      expect((await store.search(vectors(5, 3, 5), { top: 1 }))[0]!.similarity).toBeGreaterThan(0.98);
    }
    await end;
  });

  it('leftovers of a killed writer are swept, and other files never', async () => {
    await filled([row('a', 1)]);
    for (const name of ['000099.vectors', '000099.entries', '.abc.tmp']) await writeFile(join(folder(), name), 'x');
    await writeFile(join(folder(), 'notes.txt'), 'mine');
    await filled([row('b', 2)]);
    expect((await readdir(folder())).sort()).toEqual(['000001.entries', '000001.vectors', '000002.entries', '000002.vectors', 'index.json', 'notes.txt']);
  });

  it('takes over the lock of a dead process, and refuses that of a living one', async () => {
    await filled([row('a', 1)]);
    await writeFile(join(folder(), 'writer.lock'), '999999999');
    await filled([row('b', 2)]);
    await using _writer = await folderStore.open(folder(), { space: space(), write: true });
    await expect(folderStore.open(folder(), { space: space(), write: true })).rejects.toMatchObject({ code: 'QRT_STORE' });
    await using reader = await folderStore.open(folder());
    expect(reader.size).toBe(2);
  });
});

describe('refusing', () => {
  it('another model, a folder with other things in it, a place without an index', async () => {
    await filled([row('a', 1)]);
    await expect(folderStore.open(folder(), { space: space({ probe: unit([5, 4, 3, 2, 1]) }) })).rejects.toMatchObject({ code: 'QRT_STORE' });
    await expect(folderStore.open(folder(), { space: space({ queries: 4 }) })).rejects.toMatchObject({ code: 'QRT_STORE' });
    await writeFile(join(root, 'photo.jpg'), 'x');
    await expect(folderStore.open(root, { space: space(), write: true })).rejects.toMatchObject({ code: 'QRT_STORE' });
    await expect(folderStore.open(join(root, 'nowhere'))).rejects.toMatchObject({ code: 'QRT_STORE' });
    await expect(folderStore.open(join(root, 'photo.jpg'))).rejects.toMatchObject({ code: 'QRT_STORE' });
    await using reader = await folderStore.open(folder());
    await expect(reader.add([row('b', 2)])).rejects.toMatchObject({ code: 'QRT_USAGE' });
  });

  it('any damaged file, with a code', async () => {
    await filled([row('a', 1), row('b', 2)]);
    const names = (await readdir(folder())).filter((name) => name !== 'writer.lock');
    for (const name of names) {
      const good = await readFile(join(folder(), name));
      const flipped = Buffer.from(good);
      flipped[Math.floor(good.length / 2)]! ^= 0xff;
      for (const bad of [Buffer.alloc(0), good.subarray(0, good.length - 3), flipped, Buffer.from('{"format":"querent-index"}')]) {
        await writeFile(join(folder(), name), bad);
        const opening = folderStore.open(folder());
        await expect(opening, `${name} of ${bad.length} bytes`).rejects.toMatchObject({ code: expect.stringMatching(/^QRT_(STORE|CONFIG_INVALID|CONFIG_UNREADABLE)$/) as string });
      }
      await writeFile(join(folder(), name), good);
    }
    await using store = await folderStore.open(folder());
    expect(store.size).toBe(2);
  });
});
