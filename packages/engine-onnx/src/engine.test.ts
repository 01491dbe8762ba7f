import { mkdtemp, open, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FileTensor, ParameterData, TensorData } from '@querent/core';
import { float32, int64, tensor } from '@querent/core';
import { add, createGraph, gelu, linear, matMul, mul, reduceSum, tensorScatter } from '@querent/graph';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createOnnxEngine } from './engine.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-engine-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** y = x @ W^T + b over [batch, 3] → [batch, 2], W called `head.weight`. */
function head(): ReturnType<typeof createGraph> {
  const g = createGraph('head');
  const x = g.input('x', 'float32', ['batch', 3]);
  g.output('y', linear(g.scope('head'), x, 2));
  return g;
}

const WEIGHT = [1, 2, 3, 4, 5, 6];
const PARAMETERS: ReadonlyMap<string, ParameterData> = new Map([
  ['head.weight', float32([2, 3], WEIGHT)],
  ['head.bias', float32([2], [10, 20])],
]);
const X = float32([1, 3], [1, 1, 1]);

/** Writes tensors one after another, from an odd offset, and describes them. */
async function inFile(name: string, tensors: Readonly<Record<string, TensorData>>): Promise<Map<string, FileTensor>> {
  const file = join(folder, name);
  const parts: Buffer[] = [Buffer.from('odd')];
  const found = new Map<string, FileTensor>();
  let offset = 3;
  for (const [key, { dtype, shape, data }] of Object.entries(tensors)) {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    found.set(key, { dtype, shape, file, offset, byteLength: bytes.byteLength });
    parts.push(bytes);
    offset += bytes.byteLength;
  }
  await writeFile(file, Buffer.concat(parts));
  return found;
}

test('runs a graph with frozen parameters', async () => {
  await using engine = createOnnxEngine({ threads: 1 });
  await using executable = await engine.compile(head().graph, PARAMETERS);
  expect(engine.name).toBe('onnxruntime:cpu');
  expect(executable.inputs).toEqual([{ name: 'x', dtype: 'float32', shape: ['batch', 3] }]);
  const { y } = await executable.run({ x: float32([2, 3], [1, 1, 1, 0, 0, 1]) });
  expect(y).toEqual(float32([2, 2], [16, 35, 13, 26]));
});

test('takes parameters as inputs, and ignores those that no output needs', async () => {
  const g = head();
  g.parameter('spare', [4]);
  await using engine = createOnnxEngine({ threads: 1 });
  await using executable = await engine.compile(g.graph, PARAMETERS, { asInputs: ['head.weight', 'spare', 'elsewhere'], purpose: 'training' });
  expect(executable.inputs.map(({ name }) => name)).toEqual(['x', 'head.weight']);
  const { y } = await executable.run({ x: X, 'head.weight': float32([2, 3], [0, 0, 1, 0, 0, 2]), spare: float32([4], [1, 2, 3, 4]) });
  expect(y).toEqual(float32([1, 2], [11, 22]));
});

test('maps weights that lie in files at odd offsets', async () => {
  const parameters = await inFile('mapped.bin', { 'head.weight': float32([2, 3], WEIGHT), 'head.bias': float32([2], [10, 20]) });
  await using engine = createOnnxEngine({ threads: 1 });
  await using executable = await engine.compile(head().graph, parameters);
  expect((await executable.run({ x: X }))['y']).toEqual(float32([1, 2], [16, 35]));
});

test.runIf(process.platform === 'linux')('float32 weights in files stay there: private memory does not grow by them', async () => {
  const [out, width] = [4096, 4096]; // 64 MiB
  const file = join(folder, 'large.bin');
  const handle = await open(file, 'w');
  for (let row = 0; row < out; row++) await handle.write(new Uint8Array(Float32Array.from({ length: width }, (_, i) => row + i).buffer));
  await handle.close();
  const g = createGraph('large');
  g.output('y', linear(g.scope('large'), g.input('x', 'float32', ['batch', width]), out, { bias: false }));
  const parameters = new Map([['large.weight', { dtype: 'float32', shape: [out, width], file, offset: 0, byteLength: out * width * 4 } as const]]);
  const privateKiB = async (): Promise<number> => Number(/RssAnon:\s*(\d+)/.exec(await readFile('/proc/self/status', 'utf8'))?.[1]);
  await using engine = createOnnxEngine({ threads: 1 });
  const before = await privateKiB();
  await using executable = await engine.compile(g.graph, parameters);
  const { y } = await executable.run({ x: float32([1, width], new Float32Array(width).with(2, 1)) });
  expect((await privateKiB()) - before).toBeLessThan(32 * 1024);
  expect(y!.data[7]).toBe(9);
});

test('follows links out of a folder to the real files', async () => {
  const real = await inFile('blob.bin', { 'head.weight': float32([2, 3], WEIGHT) });
  const snapshot = await mkdtemp(join(folder, 'snapshot-'));
  const link = join(snapshot, 'model.safetensors');
  await symlink(join(folder, 'blob.bin'), link);
  const parameters = new Map<string, ParameterData>(PARAMETERS).set('head.weight', { ...real.get('head.weight')!, file: link });
  await using engine = createOnnxEngine({ threads: 1 });
  await using executable = await engine.compile(head().graph, parameters);
  expect((await executable.run({ x: X }))['y']).toEqual(float32([1, 2], [16, 35]));
});

test('takes large weights from files, from memory, and from both', async () => {
  const width = 200; // 200 x 200 floats are handed over beside the model when no weight is in a file
  const g = createGraph('mixed');
  const x = g.input('x', 'float32', ['batch', width]);
  g.output('y', linear(g.scope('b'), linear(g.scope('a'), x, width, { bias: false }), width, { bias: false }));
  const values = Float32Array.from({ length: width * width }, (_, i) => (i % 13) / 13);
  const identity = Float32Array.from({ length: width * width }, (_, i) => (i % (width + 1) === 0 ? 1 : 0));
  const column = Float32Array.from({ length: width }, (_, row) => values[row * width + 1]!);
  const memory = { a: float32([width, width], values), b: float32([width, width], identity) };
  const file = { ...Object.fromEntries(await inFile('a.bin', { a: memory.a })), ...Object.fromEntries(await inFile('b.bin', { b: memory.b })) };
  await using engine = createOnnxEngine({ threads: 1 });
  for (const { a, b } of [memory, file, { ...memory, a: file['a']! }]) {
    await using executable = await engine.compile(g.graph, new Map<string, ParameterData>([['a.weight', a], ['b.weight', b!]]));
    const { y } = await executable.run({ x: float32([1, width], new Float32Array(width).with(1, 1)) });
    expect(y!.data).toEqual(column);
  }
});

test('reads weights stored as float16 into a float32 graph', async () => {
  const half = tensor('float16', [2, 3], Uint16Array.from([0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600]));
  const parameters = new Map<string, ParameterData>(await inFile('half.bin', { 'head.weight': half }));
  parameters.set('head.bias', float32([2], [10, 20]));
  await using engine = createOnnxEngine({ threads: 1 });
  await using executable = await engine.compile(head().graph, parameters);
  expect((await executable.run({ x: X }))['y']).toEqual(float32([1, 2], [16, 35]));
});

test('gives float16 and bool as raw words and bytes', async () => {
  const g = createGraph('half');
  const x = g.input('x', 'float16', ['n']);
  g.output('y', add(x, x));
  g.input('unused', 'bool', ['n']);
  await using engine = createOnnxEngine({ threads: 1 });
  await using executable = await engine.compile(g.graph, new Map());
  const { y } = await executable.run({
    x: tensor('float16', [2], Uint16Array.from([0x3c00, 0x4000])),
    unused: tensor('bool', [2], Uint8Array.from([0, 1])),
  });
  expect(y).toEqual(tensor('float16', [2], Uint16Array.from([0x4000, 0x4400])));
});

test('writes into preallocated outputs, which may alias a feed', async () => {
  const g = createGraph('step');
  const state = g.input('state', 'float32', ['n']);
  g.output('next', add(state, 1));
  g.output('double', mul(state, 2));
  await using engine = createOnnxEngine({ threads: 1 });
  await using executable = await engine.compile(g.graph, new Map());
  const kept = float32([3], [1, 2, 3]);
  const other = float32([3], [0, 0, 0]);
  const apart = await executable.run({ state: kept }, { into: { next: other }, outputs: ['next'] });
  expect(apart['next']).toBe(other);
  expect(apart).not.toHaveProperty('double');
  expect([...other.data]).toEqual([2, 3, 4]);
  const before = kept.data;
  const { next } = await executable.run({ state: kept }, { into: { next: kept }, outputs: ['next'] });
  expect(next).toBe(kept);
  expect(kept.data).toBe(before);
  expect([...kept.data]).toEqual([2, 3, 4]);
});

test('grows a KV cache in place, step by step', async () => {
  const g = createGraph('cache');
  const past = g.input('past', 'float32', [1, 1, 'capacity', 2]);
  const token = g.input('token', 'float32', [1, 1, 1, 2]);
  const at = g.input('at', 'int64', [1]);
  const present = tensorScatter(past, token, at);
  g.output('present', present);
  g.output('sum', reduceSum(present, [2], false));
  await using engine = createOnnxEngine({ threads: 1 });
  await using executable = await engine.compile(g.graph, new Map());
  const cache = float32([1, 1, 4, 2], new Float32Array(8));
  for (let step = 0; step < 4; step++) {
    const feeds = { past: cache, token: float32([1, 1, 1, 2], [step + 1, 10 * (step + 1)]), at: int64([1], [step]) };
    const { present: grown, sum } = await executable.run(feeds, { into: { present: cache } });
    expect(grown).toBe(cache);
    expect([...sum!.data]).toEqual([((step + 1) * (step + 2)) / 2, 5 * (step + 1) * (step + 2)]);
  }
  expect([...cache.data]).toEqual([1, 10, 2, 20, 3, 30, 4, 40]);
});

test('says everything that is wrong with the feeds at once', async () => {
  const g = createGraph('pair');
  const a = g.input('a', 'float32', ['batch', 2]);
  const b = g.input('b', 'float32', ['batch', 2]);
  const c = g.input('c', 'float32', ['batch + 1']);
  g.output('y', add(a, b));
  g.output('z', add(c, 1));
  g.input('ids', 'int64', ['batch']);
  await using engine = createOnnxEngine({ threads: 1 });
  await using executable = await engine.compile(g.graph, new Map());
  const good = { a: float32([1, 2], [1, 2]), b: float32([1, 2], [1, 2]), c: float32([2], [0, 0]), ids: int64([1], [1]) };
  await executable.run(good);
  const error = await executable.run({ a: float32([1, 2], [1, 2]), b: float32([2, 2], [1, 2, 3, 4]), c: float32([2], [1, 2]), extra: X }).catch((e: unknown) => e);
  expect(error).toMatchObject({ code: 'QRT_ENGINE_FEED' });
  expect(String(error)).toMatch(/b is \[2, 2\].*batch = 1/);
  expect(String(error)).toContain('ids (int64 [batch]) is missing');
  expect(String(error)).toContain('extra is not an input');
  await expect(executable.run({ ...good, ids: float32([1], [1]) })).rejects.toMatchObject({ code: 'QRT_ENGINE_FEED', message: expect.stringContaining('ids is float32') });
  await expect(executable.run({ ...good, c: float32([3], [0, 0, 0]) })).rejects.toMatchObject({ message: expect.stringContaining('batch + 1 = 2') });
  await expect(executable.run({ ...good, a: { dtype: 'float32', shape: [1, 2], data: new Float32Array(3) } })).rejects.toMatchObject({ code: 'QRT_ENGINE_FEED' });
  await expect(executable.run(good, { into: { y: float32([2, 2], [0, 0, 0, 0]) } })).rejects.toMatchObject({ message: expect.stringContaining('into.y is [2, 2]; expected float32 [1, 2]') });
  await expect(executable.run(good, { outputs: ['nothing'] })).rejects.toMatchObject({ code: 'QRT_ENGINE_FEED' });
});

test('refuses missing and truncated weights before onnxruntime sees them', async () => {
  await using engine = createOnnxEngine({ threads: 1 });
  await expect(engine.compile(head().graph, new Map())).rejects.toMatchObject({ code: 'QRT_CHECKPOINT_MISMATCH' });
  const parameters = await inFile('short.bin', { 'head.weight': float32([2, 3], WEIGHT), 'head.bias': float32([2], [10, 20]) });
  const beyond = new Map(parameters).set('head.bias', { ...parameters.get('head.bias')!, offset: 1000 });
  await expect(engine.compile(head().graph, beyond)).rejects.toMatchObject({ code: 'QRT_FILE' });
  const gone = new Map(parameters).set('head.bias', { ...parameters.get('head.bias')!, file: join(folder, 'gone.bin') });
  await expect(engine.compile(head().graph, gone)).rejects.toMatchObject({ code: 'QRT_FILE' });
});

test('reports what onnxruntime refuses, when compiling and when running', async () => {
  await using engine = createOnnxEngine({ threads: 1 });
  const g = createGraph('bf16');
  g.output('y', gelu(g.input('x', 'bfloat16', ['n'])));
  await expect(engine.compile(g.graph, new Map())).rejects.toMatchObject({ code: 'QRT_ENGINE_COMPILE' });
  const free = createGraph('inner');
  free.output('y', matMul(free.input('a', 'float32', ['n', 'k']), free.input('b', 'float32', ['k', 'm'])));
  await using executable = await engine.compile(free.graph, new Map());
  await expect(executable.run({ a: float32([1, 2], [1, 2]), b: float32([3, 1], [1, 2, 3]) })).rejects.toMatchObject({ code: 'QRT_ENGINE_FEED' });
});

test('cancels a run that waits with the reason of the signal, and finishes the one that has begun', async () => {
  await using engine = createOnnxEngine({ threads: 1 });
  await using executable = await engine.compile(head().graph, PARAMETERS);
  const controller = new AbortController();
  const begun = executable.run({ x: X }, { signal: controller.signal });
  const waiting = executable.run({ x: X }, { signal: controller.signal });
  controller.abort(new Error('enough'));
  await expect(waiting).rejects.toThrow('enough');
  expect((await begun)['y']!.data).toEqual(Float32Array.of(16, 35));
  await expect(executable.run({ x: X }, { signal: controller.signal })).rejects.toBe(controller.signal.reason);
});

test('disposing twice, and in any order, is harmless; using it afterwards is an error', async () => {
  const engine = createOnnxEngine({ threads: 1 });
  const executable = await engine.compile(head().graph, PARAMETERS);
  const last = executable.run({ x: X });
  await Promise.all([executable[Symbol.asyncDispose](), executable[Symbol.asyncDispose]()]);
  expect((await last)['y']!.data).toEqual(Float32Array.of(16, 35));
  await expect(executable.run({ x: X })).rejects.toMatchObject({ code: 'QRT_ENGINE_RUN' });
  await engine[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
  await expect(engine.compile(head().graph, PARAMETERS)).rejects.toMatchObject({ code: 'QRT_ENGINE_RUN' });
});

test('a program is imported from TypeScript where the process can', async () => {
  await using engine = createOnnxEngine({ threads: 1 });
  const events = engine.program(new URL('./queue.ts', import.meta.url), 'absent', null);
  await expect(events[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'QRT_USAGE', message: expect.stringContaining('FairQueue') });
  const nowhere = engine.program(new URL('./nowhere.js', import.meta.url), 'run', null);
  await expect(nowhere[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'QRT_USAGE' });
});

test('refuses providers that are not there and says which are', () => {
  expect(() => createOnnxEngine({ backend: 'abacus' })).toThrow(expect.objectContaining({ code: 'QRT_ENGINE_PROVIDER', fix: expect.stringContaining('cpu') }));
  const foreign = process.platform === 'win32' ? 'coreml' : 'dml';
  expect(() => createOnnxEngine({ backend: foreign })).toThrow(expect.objectContaining({ code: 'QRT_ENGINE_PROVIDER', message: expect.stringContaining(foreign) }));
  expect(() => createOnnxEngine({ threads: 0 })).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
});
