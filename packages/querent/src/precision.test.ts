import { cp, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { int64 } from '@querent/core';
import type { TensorData } from '@querent/core';
import { createOnnxEngine } from '@querent/engine-onnx';
import { dequantiseMatrix, quantiseMatrix } from '@querent/hub';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GOLDENS, writeTinyModel } from '../test/tiny-models.ts';
import type { Querent } from './index.ts';
import { createQuerent } from './index.ts';
import type { Precision } from './precision.ts';
import { blockSizeFor } from './precision.ts';
import { openTextModel } from './text-model.ts';
import type { TextModel } from './text-model.ts';

let root = '';
let querent: Querent;
const engine = createOnnxEngine({ threads: 1 });
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'querent-precision-'));
  querent = await createQuerent({ inPlace: true, threads: 1 });
});
afterAll(async () => {
  await querent.dispose();
  await engine[Symbol.asyncDispose]();
  await rm(root, { recursive: true, force: true });
});

async function copyOf(name: string): Promise<string> {
  const path = join(root, name);
  await cp(join(GOLDENS, name), path, { recursive: true });
  return path;
}

/** Logits of the same eight labels. */
async function logitsOf(model: TextModel): Promise<TensorData> {
  await using score = await model.compile('score');
  const ids = int64([2, 3], [5, 6, 7, 8, 9, 10]);
  const out = await score.run({ input_ids: ids, attention_mask: int64([2, 3], [1, 1, 1, 1, 1, 1]), labels: int64([2, 4], [11, 12, 13, 14, 15, 16, 17, 18]) });
  return out['logits']!;
}

/** Root mean square of the differences over that of the values. */
function error(a: TensorData, b: TensorData): number {
  const [x, y] = [Array.from(a.data, Number), Array.from(b.data, Number)];
  const square = (values: readonly number[]): number => values.reduce((sum, value) => sum + value * value, 0);
  return Math.sqrt(square(x.map((value, i) => value - y[i]!)) / square(x));
}

/** These weights are random, which is the hardest case. */
const BOUNDS: Readonly<Record<Precision, number>> = { fp32: 0, fp16: 5e-3, int8: 0.1, int4: 0.7 };

describe.each(['llm-llama', 'llm-gpt2', 'llm-opt', 'llm-qwen2', 'llm-t5-gated'])('%s', (name) => {
  test('in every precision the logits are those of float32 within its error, and smaller ones are nearer', async () => {
    const path = await copyOf(name);
    const exact = await logitsOf(await openTextModel(path, querent.registry, engine));
    const errors: number[] = [];
    for (const precision of ['fp32', 'fp16', 'int8', 'int4'] as const) {
      const off = error(exact, await logitsOf(await openTextModel(path, querent.registry, engine, precision)));
      expect(off, precision).toBeLessThanOrEqual(BOUNDS[precision]);
      errors.push(off);
    }
    expect([...errors].sort((a, b) => a - b)).toEqual(errors);
  });
});

test('blocks divide their rows and lose no more than their bits, in wide matrices too', () => {
  const relative = (bits: 4 | 8, columns: number): number => {
    const values = Float32Array.from({ length: 8 * columns }, (_, i) => Math.sin(i * 12.9898) * Math.sin(i * 78.233));
    const blockSize = blockSizeFor(bits, columns);
    const again = dequantiseMatrix(quantiseMatrix(values, 8, columns, { bits, blockSize }));
    const square = (numbers: Float32Array): number => numbers.reduce((sum, value) => sum + value * value, 0);
    return Math.sqrt(square(values.map((value, i) => value - again[i]!)) / square(values));
  };
  for (const columns of [24, 768, 1408, 2560, 6144, 10240]) {
    expect([relative(8, columns) < 0.01, relative(4, columns) < 0.12]).toEqual([true, true]);
    for (const bits of [4, 8] as const) expect(columns < 1024 ? 32 : columns % blockSizeFor(bits, columns)).toBe(columns < 1024 ? blockSizeFor(bits, columns) : 0);
  }
  expect([blockSizeFor(8, 6144), blockSizeFor(4, 10240), blockSizeFor(4, 1408)]).toEqual([128, 64, 32]);
});

test('the second load reads what the first has made', async () => {
  const path = await copyOf('llm-mistral');
  await openTextModel(path, querent.registry, engine, 'int4');
  const files = await readdir(join(path, '.querent'));
  expect(files.sort().map((file) => file.replace(/-[0-9a-f]{16}/, ''))).toEqual(['int4.safetensors', 'int4.safetensors.json']);
  const before = await readFile(join(path, '.querent', files[0]!));
  await openTextModel(path, querent.registry, engine, 'int4');
  expect(await readdir(join(path, '.querent'))).toEqual(files);
  expect((await readFile(join(path, '.querent', files[0]!))).equals(before)).toBe(true);
});

test('a whole model captions in every precision; the bridge stays as it is', async () => {
  await writeTinyModel(root, 'llama');
  const model = join(root, 'llama');
  const exact = await querent.load(model);
  const { height, width } = exact.parts.processor;
  const image = { dtype: 'float32', shape: [3, height, width], data: new Float32Array(3 * height * width).fill(0.5) } as const;
  const wanted = await exact.bridge(await exact.encode([image]));
  for (const precision of ['fp16', 'int8', 'int4'] as const) {
    const held = await querent.load(model, { precision });
    const soft = await held.bridge(await held.encode([image]));
    expect(error(wanted, soft)).toBeLessThan(0.1);
    const texts: string[] = [];
    for await (const event of held.generate(soft, { maxNewTokens: 4 })) if (event.type === 'text') texts.push(event.text);
    expect(texts).toHaveLength(1);
  }
  const [cache] = (await readdir(root, { recursive: true })).filter((name) => !name.startsWith('llm-') && /int4-.*safetensors$/.test(name));
  const file = join(root, cache!);
  const whole = await readFile(file);
  const damaged = Buffer.from(whole);
  damaged[damaged.length - 1]! ^= 1;
  await writeFile(file, damaged);
  await (await querent.load(model, { precision: 'int4' }))[Symbol.asyncDispose]();
  expect((await readFile(file)).equals(whole)).toBe(true); // noticed while it was loaded, and made again
  // @ts-expect-error a caller without types
  await expect(querent.load(model, { precision: 'q3' })).rejects.toMatchObject({ code: 'QRT_USAGE' });
});
