import { appendFile, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { float32 } from '@querent/core';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dequantiseMatrix, quantiseMatrix } from './quantise.ts';
import { derivedTensors, type DerivedTensors } from './quantise-cache.ts';
import { loadTensor } from './safetensors.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-quantise-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const matrix = fc
  .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 80 }))
  .chain(([rows, columns]) => fc.float32Array({ minLength: rows * columns, maxLength: rows * columns, min: -8, max: 8, noNaN: true }).map((values) => ({ rows, columns, values })));

test.each([4, 8] as const)('%s bits: no value is off by more than half a step of its block, and 0 stays 0', (bits) => {
  fc.assert(
    fc.property(matrix, ({ rows, columns, values }) => {
      const quantised = quantiseMatrix(values, rows, columns, { bits });
      const back = dequantiseMatrix(quantised);
      const blocks = Math.ceil(columns / 32);
      values.forEach((value, i) => {
        const step = quantised.scales[Math.floor(i / columns) * blocks + Math.floor((i % columns) / 32)]!;
        // A zero point is rounded too: at 4 bits the ends of a block may lose another half.
        if (Math.abs(back[i]! - value) > (bits === 8 ? 0.51 : 1.01) * step + 1e-30) expect([value, back[i], step]).toBeNull();
        if (value === 0) expect(back[i]! + 0).toBe(0);
      });
    }),
    { numRuns: 60 },
  );
});

test('what is no number does not spoil its block', () => {
  const back = dequantiseMatrix(quantiseMatrix(Float32Array.of(NaN, 1, Infinity, -0.5), 1, 4, { bits: 8 }));
  expect(back[0]).toBe(0);
  expect(back[1]).toBeCloseTo(1, 2);
  expect(back[2]).toBeCloseTo(1, 2);
  expect(back[3]).toBeCloseTo(-0.5, 2);
});

/** Two tensors, and how often they were made. */
function work(): { readonly works: readonly DerivedTensors[]; readonly made: () => number } {
  let count = 0;
  const make = async () => {
    count++;
    return [float32([2], [1, 2]), { dtype: 'uint8', shape: [3], data: Uint8Array.of(7, 8, 9) } as const];
  };
  return { works: [{ tensors: [{ name: 'a', dtype: 'float32', shape: [2] }, { name: 'b', dtype: 'uint8', shape: [3] }], make }], made: () => count };
}

test('made once, then read; made again for another key, when a byte has changed, and when the checksum is gone', async () => {
  const { works, made } = work();
  const options = { beside: folder, kind: 'int8', key: 1 };
  const [first] = [await derivedTensors(works, options)];
  expect((await loadTensor(first.get('b')!)).data).toEqual(Uint8Array.of(7, 8, 9));
  await derivedTensors(works, options);
  expect(made()).toBe(1);
  await derivedTensors(works, { ...options, key: 2 });
  expect(made()).toBe(2);
  const { file } = first.get('a')!;
  const bytes = await readFile(file);
  bytes[bytes.length - 1]! ^= 1;
  await writeFile(file, bytes);
  expect((await loadTensor((await derivedTensors(works, options)).get('b')!)).data).toEqual(Uint8Array.of(7, 8, 9));
  expect(made()).toBe(3);
  await appendFile(file, 'x');
  await derivedTensors(works, options);
  await rm(`${file}.json`);
  await derivedTensors(works, options);
  expect(made()).toBe(5);
  await writeFile(`${file}.json`, '{');
  await derivedTensors(works, options);
  expect(made()).toBe(6);
  expect((await readdir(join(folder, '.querent'))).every((name) => !name.endsWith('.tmp'))).toBe(true);
});

test('handed out before it is checked, a damaged cache is told of and made again', async () => {
  const { works, made } = work();
  const options = { beside: folder, kind: 'late', key: 1 };
  const { file } = (await derivedTensors(works, options)).get('a')!;
  const whole: Promise<boolean>[] = [];
  expect((await loadTensor((await derivedTensors(works, { ...options, checks: whole })).get('b')!)).data).toEqual(Uint8Array.of(7, 8, 9));
  expect(await Promise.all(whole)).toEqual([true]);
  const bytes = await readFile(file);
  bytes[bytes.length - 1]! ^= 1;
  await writeFile(file, bytes);
  const damaged: Promise<boolean>[] = [];
  await derivedTensors(works, { ...options, checks: damaged });
  expect([await Promise.all(damaged), made()]).toEqual([[false], 1]);
  const none: Promise<boolean>[] = [];
  expect((await loadTensor((await derivedTensors(works, { ...options, checks: none })).get('b')!)).data).toEqual(Uint8Array.of(7, 8, 9));
  expect([none, made()]).toEqual([[], 2]);
});

test('beside what cannot be written to, the user\'s cache takes it', async () => {
  const before = process.env['QUERENT_CACHE'];
  process.env['QUERENT_CACHE'] = join(folder, 'user');
  try {
    await writeFile(join(folder, 'model.gguf'), '');
    await rm(join(folder, '.querent'), { recursive: true, force: true });
    await writeFile(join(folder, '.querent'), 'a file where the folder would be');
    const { works, made } = work();
    const found = await derivedTensors(works, { beside: join(folder, 'model.gguf'), kind: 'int4', key: 0 });
    expect(found.get('a')!.file).toContain(join(folder, 'user', 'weights'));
    await derivedTensors(works, { beside: join(folder, 'model.gguf'), kind: 'int4', key: 0 });
    expect(made()).toBe(1);
    expect((await stat(found.get('a')!.file)).isFile()).toBe(true);
  } finally {
    if (before === undefined) delete process.env['QUERENT_CACHE'];
    else process.env['QUERENT_CACHE'] = before;
  }
});
