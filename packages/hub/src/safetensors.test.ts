import { mkdtemp, readFile, readdir, rm, writeFile, truncate, copyFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { float32, int64, isQuerentError, tensor, type ParameterData } from '@querent/core';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadTensor, loadTensors, readSafetensors, toFloat32 } from './safetensors.ts';
import { writeSafetensors } from './safetensors-write.ts';

const goldens = join(dirname(fileURLToPath(import.meta.url)), '../../../test/goldens/v1');
let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-hub-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const path = (name: string): string => join(folder, name);
const format = { code: 'QRT_CHECKPOINT_FORMAT' };

/** A file from a header and data, whatever they say. */
async function craft(name: string, header: string | Uint8Array, dataBytes: number, announced?: bigint): Promise<string> {
  const json = Buffer.from(header);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(announced ?? BigInt(json.length));
  await writeFile(path(name), Buffer.concat([prefix, json, Buffer.alloc(dataBytes)]));
  return path(name);
}
const entry = (dtype: unknown, shape: unknown, data_offsets: unknown): unknown => ({ dtype, shape, data_offsets });

test('reads a golden file by reference and loads it', async () => {
  const { tensors } = await readSafetensors(join(goldens, 'llm-opt/model.safetensors'));
  const config = JSON.parse(await readFile(join(goldens, 'llm-opt/config.json'), 'utf8')) as { vocab_size: number }; // our fixture
  const [name, embedding] = [...tensors].find(([key]) => key.endsWith('embed_tokens.weight')) ?? [];
  expect(name).toBeDefined();
  if (embedding === undefined) return;
  expect(embedding.shape[0]).toBe(config.vocab_size);
  const loaded = await loadTensor(embedding);
  expect(loaded.data).toHaveLength((embedding.shape[0] ?? 0) * (embedding.shape[1] ?? 0));
  expect(Math.abs(Number(loaded.data[0]))).toBeLessThan(10);
  const all = await loadTensors(tensors);
  expect([...all.keys()]).toEqual([...tensors.keys()]);
});

test('what is written is read back, in every dtype', async () => {
  const tensors = new Map<string, ParameterData>([
    ['b', float32([2, 3], [1, 2, 3, 4, 5, 6])],
    ['a', int64([2], [7, -7])],
    ['c', tensor('float16', [1], Uint16Array.of(0x3c00))],
    ['d', tensor('bfloat16', [3], Uint16Array.of(0x3f80, 0x4000, 0x7f80))],
    ['e', tensor('float64', [], Float64Array.of(Math.PI))],
    ['f', tensor('bool', [3], Uint8Array.of(1, 0, 1))],
    ['g', tensor('int8', [1], Int8Array.of(-5))],
    ['h', tensor('int32', [0, 4], new Int32Array(0))],
    ['i', tensor('uint8', [1], Uint8Array.of(255))],
  ]);
  await writeSafetensors(path('all.safetensors'), tensors, { metadata: { who: 'test' } });
  const { tensors: read, metadata } = await readSafetensors(path('all.safetensors'));
  expect(metadata).toEqual({ who: 'test' });
  const loaded = await loadTensors(read);
  for (const [name, original] of tensors) expect(loaded.get(name), name).toEqual(original);
  expect([...(await toFloat32(read.get('d') as ParameterData)).data]).toEqual([1, 2, Infinity]);
  expect([...(await toFloat32(read.get('a') as ParameterData)).data]).toEqual([7, -7]);
  for (const { offset, shape, byteLength } of read.values()) {
    const width = shape.reduce((product, dim) => product * dim, 1);
    if (width > 0) expect(offset % (byteLength / width)).toBe(0);
  }
});

test('the same tensors give the same bytes, whatever their order', async () => {
  const a: [string, ParameterData] = ['a', float32([1], [1])];
  const b: [string, ParameterData] = ['b', float32([2], [2, 3])];
  await writeSafetensors(path('1.safetensors'), new Map([a, b]));
  await writeSafetensors(path('2.safetensors'), new Map([b, a]));
  const bytes = await readFile(path('1.safetensors'));
  expect(bytes.equals(await readFile(path('2.safetensors')))).toBe(true);
  expect(bytes.readUInt32LE(0) % 8).toBe(0);
});

test('a file can be rewritten in half precision over itself', async () => {
  const file = path('self.safetensors');
  await writeSafetensors(file, new Map([['w', float32([3], [1, 0.1, -65504])], ['n', int64([1], [3])]]));
  await writeSafetensors(file, (await readSafetensors(file)).tensors, { dtype: 'float16' });
  const { tensors } = await readSafetensors(file);
  expect(tensors.get('w')?.dtype).toBe('float16');
  expect(tensors.get('n')?.dtype).toBe('int64');
  expect([...(await toFloat32(tensors.get('w') as ParameterData)).data]).toEqual([1, 0.0999755859375, -65504]);
});

test('shards are read through their index', async () => {
  await writeSafetensors(path('model-1.safetensors'), new Map([['a', float32([1], [1])]]));
  await writeSafetensors(path('model-2.safetensors'), new Map([['b', float32([1], [2])]]));
  const index = path('model.safetensors.index.json');
  await writeFile(index, JSON.stringify({ metadata: { total_size: 8 }, weight_map: { a: 'model-1.safetensors', b: 'model-2.safetensors' } }));
  const { tensors, metadata } = await readSafetensors(index);
  expect(metadata).toEqual({ total_size: '8' });
  expect([...(await loadTensors(tensors)).values()].map(({ data }) => data[0])).toEqual([1, 2]);

  for (const map of [{ c: 'model-1.safetensors' }, { a: '../x.safetensors' }, { a: 3 }, []]) {
    await writeFile(index, JSON.stringify({ weight_map: map }));
    await expect(readSafetensors(index)).rejects.toMatchObject(format);
  }
});

describe('refuses', () => {
  const valid = entry('F32', [1], [0, 4]);
  test.each<[string, string | Uint8Array, number, bigint?]>([
    ['a header beyond the end', '{}', 0, 100n],
    ['a header beyond every limit', '{}', 0, 2n ** 63n],
    ['a header that is not JSON', '{"a":', 0],
    ['a header that is not UTF-8', Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d), 0],
    ['a header that is a list', '[]', 0],
    ['a tensor twice', `{"a":${JSON.stringify(valid)},"\\u0061":${JSON.stringify(valid)}}`, 4],
    ['an entry that is a number', '{"a":1}', 0],
    ['an unknown dtype', JSON.stringify({ a: entry('F8', [1], [0, 1]) }), 1],
    ['a negative dim', JSON.stringify({ a: entry('F32', [-1], [0, 4]) }), 4],
    ['a fractional dim', JSON.stringify({ a: entry('F32', [0.5], [0, 2]) }), 2],
    ['an overflowing shape', JSON.stringify({ a: entry('F32', [2 ** 40, 2 ** 40], [0, 4]) }), 4],
    ['too few bytes for the shape', JSON.stringify({ a: entry('F32', [2], [0, 4]) }), 4],
    ['offsets beyond the end', JSON.stringify({ a: entry('F32', [2], [0, 8]) }), 4],
    ['offsets backwards', JSON.stringify({ a: entry('F32', [1], [4, 0]) }), 4],
    ['three offsets', JSON.stringify({ a: entry('F32', [1], [0, 4, 4]) }), 4],
    ['overlapping tensors', JSON.stringify({ a: valid, b: entry('F32', [1], [2, 6]) }), 6],
    ['a hole', JSON.stringify({ a: valid, b: entry('F32', [1], [8, 12]) }), 12],
    ['bytes behind the last tensor', JSON.stringify({ a: valid }), 5],
    ['metadata that is not text', JSON.stringify({ __metadata__: { a: 1 } }), 0],
  ])('%s', async (_, header, dataBytes, announced) => {
    await expect(readSafetensors(await craft('bad.safetensors', header, dataBytes, announced))).rejects.toMatchObject(format);
  });

  test('a truncated file, by name', async () => {
    await copyFile(join(goldens, 'llm-opt/model.safetensors'), path('cut.safetensors'));
    await truncate(path('cut.safetensors'), 20_000);
    await expect(readSafetensors(path('cut.safetensors'))).rejects.toMatchObject({ ...format, message: expect.stringMatching(/cut\.safetensors.*truncated/) });
    await truncate(path('cut.safetensors'), 3);
    await expect(readSafetensors(path('cut.safetensors'))).rejects.toMatchObject(format);
  });

  test('a file that was cut after its header was read', async () => {
    await writeSafetensors(path('later.safetensors'), new Map([['a', float32([4], [1, 2, 3, 4])]]));
    const { tensors } = await readSafetensors(path('later.safetensors'));
    await truncate(path('later.safetensors'), 90);
    await expect(loadTensors(tensors)).rejects.toMatchObject(format);
  });

  test('pickles, missing files and folders', async () => {
    await expect(readSafetensors(path('pytorch_model.bin'))).rejects.toMatchObject({ ...format, message: expect.stringContaining('pickle') });
    await expect(readSafetensors(path('none.safetensors'))).rejects.toMatchObject({ code: 'QRT_FILE' });
    await expect(readSafetensors(folder)).rejects.toMatchObject(format);
  });
});

test('any damage to a real file gives a coded error or tensors within the file', async () => {
  const original = await readFile(join(goldens, 'llm-opt/model.safetensors'));
  const headerEnd = 8 + Number(original.readBigUInt64LE(0));
  const at = fc.oneof(fc.nat(7), fc.integer({ min: 8, max: headerEnd - 1 }));
  const edit = fc.oneof(
    fc.record({ kind: fc.constant('set' as const), at, byte: fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('0123456789[]{},:"-'))) }),
    fc.record({ kind: fc.constant('cut' as const), at: fc.nat(original.length), byte: fc.constant(0) }),
    fc.record({ kind: fc.constant('insert' as const), at, byte: fc.nat(255) }),
  );
  const file = path('fuzz.safetensors');
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
      let bytes = Buffer.from(original);
      for (const { kind, at: where, byte } of edits) {
        if (kind === 'set' && where < bytes.length) bytes[where] = byte;
        if (kind === 'cut') bytes = bytes.subarray(0, where);
        if (kind === 'insert') bytes = Buffer.concat([bytes.subarray(0, where), Buffer.of(byte), bytes.subarray(where)]);
      }
      await writeFile(file, bytes);
      try {
        const { tensors } = await readSafetensors(file);
        for (const { offset, byteLength } of tensors.values()) expect(offset + byteLength).toBeLessThanOrEqual(bytes.length);
      } catch (error) {
        if (!isQuerentError(error)) throw error;
        expect(error.code).toBe('QRT_CHECKPOINT_FORMAT');
      }
    }),
    { numRuns: 400 },
  );
});

test('a failed write leaves the old file and nothing else', async () => {
  const inner = await mkdtemp(path('write-'));
  const file = join(inner, 'w.safetensors');
  await writeSafetensors(file, new Map([['a', float32([1], [1])]]));
  const before = await readFile(file);
  const gone = { dtype: 'float32', shape: [4], file: join(inner, 'gone.safetensors'), offset: 0, byteLength: 16 } as const;
  await expect(writeSafetensors(file, new Map([['a', gone]]))).rejects.toMatchObject({ code: 'QRT_FILE' });
  expect((await readFile(file)).equals(before)).toBe(true);
  expect(await readdir(inner)).toEqual(['w.safetensors']);
});
