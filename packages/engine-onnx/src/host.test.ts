import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import type { Engine, Executable, ParameterData, TensorData } from '@querent/core';
import { float32, tensor, zeros } from '@querent/core';
import { add, createGraph, linear, matMul } from '@querent/graph';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEngine, createOnnxHost } from './host.ts';
import { builtProgramUrl } from './program.ts';

const run = promisify(execFile);
const packageFolder = fileURLToPath(new URL('..', import.meta.url));
let folder: string;
let programs: URL;

beforeAll(async () => {
  // The worker is plain Node and runs the built package.
  await run(process.execPath, [fileURLToPath(new URL('../../../node_modules/typescript/bin/tsc', import.meta.url)), '-b', packageFolder]);
  folder = await mkdtemp(join(tmpdir(), 'querent-host-'));
  const file = join(folder, 'programs.mjs');
  await writeFile(file, PROGRAMS);
  programs = pathToFileURL(file);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const PROGRAMS = `
export let produced = 0;
export async function* count({ to }) { for (let i = 0; i < to; i++) yield i; }
export async function* doubling({ value, steps }, { executables }) {
  let x = { dtype: 'float32', shape: [1], data: Float32Array.of(value) };
  for (let i = 0; i < steps; i++) {
    const { y } = await executables.double.run({ x });
    x = y;
    yield { step: i, value: y.data[0] };
  }
}
export async function* endless(file, { signal }) {
  const { writeFileSync } = await import('node:fs');
  try { for (let i = 0; ; i++) { writeFileSync(file, String(i)); yield i; } }
  finally { writeFileSync(file + '.ended', String(signal.aborted)); }
}
export async function* feedWrongly(_, { executables }) { yield 'first'; await executables.double.run({}); }
export async function* throwOther() { throw Object.assign(new TypeError('other', { cause: new RangeError('inner') }), { code: 'EOTHER' }); }
export async function* yieldFunction() { yield () => {}; }
export async function* crash() { setTimeout(() => { throw new Error('nobody catches this'); }); await new Promise(() => {}); yield 0; }
export const notAFunction = 1;
`;

function doubling(): ReturnType<typeof createGraph> {
  const g = createGraph('double');
  const x = g.input('x', 'float32', ['n']);
  g.output('y', add(x, x));
  return g;
}

/** 40 products of 512 x 512, long enough for other things to happen meanwhile. */
async function slow(engine: Engine): Promise<(options?: { signal?: AbortSignal }) => Promise<unknown>> {
  const g = createGraph('slow');
  let x = g.input('x', 'float32', [512, 512]);
  for (let i = 0; i < 40; i++) x = matMul(x, x);
  g.output('y', x);
  const executable = await engine.compile(g.graph, new Map());
  const feeds = { x: zeros('float32', [512, 512]) };
  return (options) => executable.run(feeds, options);
}

test('gives the same as in place; feeds stay the caller’s and outputs become the caller’s', async () => {
  await using host = createOnnxHost({ threads: 1 });
  await using inPlace = createEngine({ inPlace: true, threads: 1 });
  const g = createGraph('head');
  g.output('y', linear(g.scope('head'), g.input('x', 'float32', ['batch', 3]), 2));
  const parameters = new Map<string, ParameterData>([
    ['head.weight', float32([2, 3], [1, 2, 3, 4, 5, 6])],
    ['head.bias', float32([2], [10, 20])],
  ]);
  expect(host.name).toBe('onnxruntime:cpu');
  const results: TensorData[] = [];
  for (const engine of [host, inPlace]) {
    await using executable = await engine.compile(g.graph, parameters, { asInputs: ['head.bias'] });
    expect(executable.inputs.map(({ name }) => name)).toEqual(['x', 'head.bias']);
    const x = float32([1, 3], [1, 2, 3]);
    for (let i = 0; i < 5; i++) {
      const { y } = await executable.run({ x, 'head.bias': float32([2], [10, 20]) });
      expect([...x.data]).toEqual([1, 2, 3]);
      structuredClone(y, { transfer: [y!.data.buffer as ArrayBuffer] });
      results.push((await executable.run({ x, 'head.bias': float32([2], [i, i]) }))['y']!);
    }
  }
  expect(results.slice(0, 5)).toEqual(results.slice(5));
  expect(results[1]).toEqual(float32([1, 2], [15, 33]));
});

test('writes into the caller’s outputs, also where they alias a feed; empty tensors cross', async () => {
  await using host = createOnnxHost({ threads: 1 });
  await using executable = await host.compile(doubling().graph, new Map());
  const x = float32([2], [1, 2]);
  const { y } = await executable.run({ x }, { into: { y: x } });
  expect(y).toBe(x);
  expect([...x.data]).toEqual([2, 4]);
  expect((await executable.run({ x: float32([0], []) }))['y']).toEqual(float32([0], []));
});

test('keeps the caller’s thread free while it runs', async () => {
  await using host = createOnnxHost({ threads: 1 });
  const work = await slow(host);
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  await work();
  clearInterval(timer);
  expect(ticks).toBeGreaterThan(10);
});

test('checks feeds before anything is sent', async () => {
  await using host = createOnnxHost({ threads: 1 });
  await using executable = await host.compile(doubling().graph, new Map());
  await expect(executable.run({ x: tensor('int32', [1], Int32Array.of(1)) })).rejects.toMatchObject({ code: 'QRT_ENGINE_FEED' });
  await expect(executable.run({ x: float32([1], [1]) }, { into: { y: float32([2], [0, 0]) } })).rejects.toMatchObject({ code: 'QRT_ENGINE_FEED' });
});

test('cancels what waits, here and in the worker, with the signal’s reason; what has begun is finished', async () => {
  await using host = createOnnxHost({ threads: 1 });
  const work = await slow(host);
  const controller = new AbortController();
  const begun = work();
  const readyBehind = work({ signal: controller.signal });
  const waiting = work({ signal: controller.signal });
  const after = work();
  controller.abort(new Error('enough'));
  await expect(waiting).rejects.toBe(controller.signal.reason);
  await expect(readyBehind).rejects.toBe(controller.signal.reason);
  await Promise.all([begun, after]);
  await expect(work({ signal: AbortSignal.abort('no') })).rejects.toBe('no');
});

test('takes turns between executables', async () => {
  await using host = createOnnxHost({ threads: 1 });
  const greedy = await host.compile(doubling().graph, new Map());
  const modest = await host.compile(doubling().graph, new Map());
  const order: string[] = [];
  const note = (executable: Executable, name: string): Promise<unknown> => executable.run({ x: float32([1], [1]) }).then(() => order.push(name));
  await Promise.all([...Array.from({ length: 20 }, () => note(greedy, 'greedy')), note(modest, 'modest'), note(modest, 'modest')]);
  expect(order.lastIndexOf('modest')).toBeLessThan(8);
});

test('streams a program that uses executables', async () => {
  for (const inPlace of [true, false]) {
    await using engine = createEngine({ threads: 1, inPlace });
    const double = await engine.compile(doubling().graph, new Map());
    const events: unknown[] = [];
    for await (const event of engine.program(programs, 'doubling', { value: 3, steps: 10 }, { executables: { double } })) events.push(event);
    expect(events).toHaveLength(10);
    expect(events[9]).toEqual({ step: 9, value: 3 * 2 ** 10 });
  }
});

test('a program makes no more events than the caller has room for, and ends when the caller stops reading', async () => {
  await using host = createOnnxHost({ threads: 1 });
  const file = join(folder, 'endless');
  const { readFile } = await import('node:fs/promises');
  const seen: number[] = [];
  for await (const event of host.program<number>(programs, 'endless', file)) {
    seen.push(event);
    if (event === 0) {
      await sleep(50);
      expect(Number(await readFile(file, 'utf8'))).toBeLessThan(8);
    }
    if (event === 20) break;
  }
  expect(seen).toEqual(Array.from({ length: 21 }, (_, i) => i));
  expect(await readFile(`${file}.ended`, 'utf8')).toBe('true');
});

test('cancels a program between events with the signal’s reason', async () => {
  for (const inPlace of [true, false]) {
    await using engine = createEngine({ threads: 1, inPlace });
    const controller = new AbortController();
    const reason = new Error('changed my mind');
    const reading = (async () => {
      for await (const event of engine.program<number>(programs, 'endless', join(folder, 'cancelled'), { signal: controller.signal })) {
        if (event === 5) controller.abort(reason);
      }
    })();
    await expect(reading).rejects.toBe(reason);
  }
});

test('errors cross with code, fix, details and cause', async () => {
  for (const inPlace of [true, false]) {
    await using engine = createEngine({ threads: 1, inPlace });
    const double = await engine.compile(doubling().graph, new Map());
    const read = async (name: string, args: unknown = null): Promise<unknown> => {
      for await (const _ of engine.program(programs, name, args, { executables: { double } }));
      return undefined;
    };
    await expect(read('feedWrongly')).rejects.toMatchObject({
      name: 'QuerentError',
      code: 'QRT_ENGINE_FEED',
      fix: expect.stringContaining('x: float32 [n]'),
      details: ['x (float32 [n]) is missing'],
    });
    await expect(read('throwOther')).rejects.toMatchObject({ name: 'TypeError', message: 'other', code: 'EOTHER', cause: { name: 'RangeError', message: 'inner' } });
    await expect(read('notAFunction')).rejects.toMatchObject({ code: 'QRT_USAGE', message: expect.stringContaining('count') });
    await expect(read('count', { to: 2 })).resolves.toBeUndefined();
    if (inPlace) continue;
    await expect(read('yieldFunction')).rejects.toMatchObject({ code: 'QRT_USAGE' });
    await expect(read('count', { to: () => 3 })).rejects.toMatchObject({ code: 'QRT_USAGE' });
  }
});

test('refuses executables of another engine', async () => {
  await using host = createOnnxHost({ threads: 1 });
  await using other = createEngine({ inPlace: true });
  const double = await other.compile(doubling().graph, new Map());
  const events = host.program(programs, 'doubling', {}, { executables: { double } });
  await expect(events[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'QRT_USAGE' });
});

test('a worker that crashes fails what is under way, and a new engine gets a new worker', async () => {
  const host = createOnnxHost({ threads: 1 });
  const double = await host.compile(doubling().graph, new Map());
  const events = host.program(programs, 'crash', null);
  await expect(events[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'QRT_ENGINE_RUN', cause: { message: 'nobody catches this' } });
  await expect(double.run({ x: float32([1], [1]) })).rejects.toMatchObject({ code: 'QRT_ENGINE_RUN' });
  await using next = createOnnxHost({ threads: 1 });
  await using again = await next.compile(doubling().graph, new Map());
  expect((await again.run({ x: float32([1], [1]) }))['y']).toEqual(float32([1], [2]));
  await host[Symbol.asyncDispose]();
});

test('disposing finishes what has begun, rejects what waits, and twice is harmless', async () => {
  const host = createOnnxHost({ threads: 1 });
  const work = await slow(host);
  await work();
  let settled = 0;
  const results = Array.from({ length: 5 }, () => work().catch((error: unknown) => error).finally(() => settled++));
  await Promise.all([host[Symbol.asyncDispose](), host[Symbol.asyncDispose]()]);
  expect(settled).toBe(5);
  expect(await results[4]).toMatchObject({ code: 'QRT_ENGINE_RUN' });
  await expect(work()).rejects.toMatchObject({ code: 'QRT_ENGINE_RUN' });
  await expect(host.compile(doubling().graph, new Map())).rejects.toMatchObject({ code: 'QRT_ENGINE_RUN' });
});

test('engines of one device share its worker, which outlives the first of them', async () => {
  const first = createOnnxHost({ threads: 1 });
  await using second = createOnnxHost({ threads: 1 });
  await first.compile(doubling().graph, new Map());
  await using double = await second.compile(doubling().graph, new Map());
  await first[Symbol.asyncDispose]();
  expect((await double.run({ x: float32([1], [4]) }))['y']).toEqual(float32([1], [8]));
});

test('a script that forgets to dispose ends by itself, and process.exit inside a run keeps its exit code', async () => {
  const engine = new URL('../dist/index.js', import.meta.url).href;
  const graph = new URL('../../graph/dist/index.js', import.meta.url).href;
  const script = (end: string): string => `
    import { createEngine } from ${JSON.stringify(engine)};
    import { createGraph, matMul } from ${JSON.stringify(graph)};
    const g = createGraph('slow');
    let x = g.input('x', 'float32', [512, 512]);
    for (let i = 0; i < 100; i++) x = matMul(x, x);
    g.output('y', x);
    const executable = await createEngine({ threads: 1 }).compile(g.graph, new Map());
    const running = executable.run({ x: { dtype: 'float32', shape: [512, 512], data: new Float32Array(512 * 512) } });
    ${end}`;
  const start = (end: string): Promise<unknown> => run(process.execPath, ['--input-type=module', '-e', script(end)]);
  await expect(start(`await running; console.log('done');`)).resolves.toMatchObject({ stdout: 'done\n' });
  await expect(start(`setTimeout(() => process.exit(7), 30); await running;`)).rejects.toMatchObject({ code: 7, signal: null });
});

test('a program named from TypeScript sources is taken from the build', () => {
  expect(builtProgramUrl(new URL('./queue.ts', import.meta.url).href)).toBe(new URL('../dist/queue.js', import.meta.url).href);
  expect(builtProgramUrl('data:text/javascript,')).toBe('data:text/javascript,');
  expect(() => builtProgramUrl(new URL('./absent.ts', import.meta.url).href)).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
});
