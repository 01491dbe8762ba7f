import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRegistry } from '@querent/core';
import { readSafetensors, toFloat32 } from '@querent/hub';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BENCH_INFER_PRESETS, writeRandomCheckpoint } from './bench-infer-checkpoint.ts';
import { benchInfer } from './bench-infer.ts';
import { builtInPlugins } from './built-in-plugins.ts';
import { createQuerent } from './create-querent.ts';
import { inspectModel } from './inspect.ts';

const registry = createRegistry(builtInPlugins);
let folder = '';
let written = { parameters: 0, bytes: 0 };
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-random-'));
  written = await writeRandomCheckpoint(folder, BENCH_INFER_PRESETS['tiny']!, { registry });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('the checkpoint is whole: two shards of bf16, nothing missing, nothing unknown', async () => {
  const shards = (await readdir(folder)).filter((name) => name.endsWith('.safetensors')).sort();
  expect(shards).toEqual(['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']);
  const { missing, unexpected, misshaped, parts } = await inspectModel(folder, { registry });
  expect([missing, unexpected, misshaped]).toEqual([[], [], []]);
  expect(parts.reduce((sum, part) => sum + part.parameters, 0)).toBe(written.parameters);
  const index = JSON.parse(await readFile(join(folder, 'model.safetensors.index.json'), 'utf8')) as { readonly weight_map: Readonly<Record<string, string>> };
  expect(new Set(Object.values(index.weight_map))).toEqual(new Set(shards));
});

test('weights are normal with the deviation of the classes, norms are ones, and no two matrices are alike', async () => {
  const { tensors } = await readSafetensors(join(folder, 'model-00001-of-00002.safetensors'));
  const values = async (name: string): Promise<Float32Array> => (await toFloat32(tensors.get(name)!)).data;
  const [first, second] = [await values('vision_model.encoder.layers.0.mlp.fc1.weight'), await values('vision_model.encoder.layers.1.mlp.fc1.weight')];
  const deviation = Math.sqrt(first.reduce((sum, value) => sum + value * value, 0) / first.length);
  expect(deviation).toBeCloseTo(0.02, 3);
  expect(first).not.toEqual(second);
  expect(new Set(await values('vision_model.encoder.layers.0.layer_norm1.weight'))).toEqual(new Set([1]));
});

test('the published sizes are those of the published checkpoint', async () => {
  const catalogue = JSON.parse(await readFile(new URL('../../../test/goldens/checkpoints.json', import.meta.url), 'utf8')) as Readonly<Record<string, { readonly parameters: number }>>;
  const path = join(folder, 'opt-2.7b.json');
  await writeFile(path, JSON.stringify(BENCH_INFER_PRESETS['opt-2.7b']));
  const { parts } = await inspectModel(path, { registry });
  expect(parts.reduce((sum, part) => sum + part.parameters, 0)).toBe(catalogue['Salesforce/blip2-opt-2.7b']!.parameters);
});

test('a bridge stored in 16 bits gives the same numbers whether it is widened once or at each use', async () => {
  await using querent = await createQuerent({ threads: 1 });
  const [whole, small] = [await querent.load(folder, { precision: 'fp32' }), await querent.load(folder, { precision: 'int4' })];
  const features = { dtype: 'float32', shape: [1, 17, 64], data: Float32Array.from({ length: 17 * 64 }, (_, i) => Math.sin(i)) } as const;
  const [exact, held] = [await whole.bridge(features), await small.bridge(features)];
  held.data.forEach((value, i) => expect(value).toBeCloseTo(exact.data[i]!, 5));
});

test('every figure of a run is there; the first load made the blocks, the next finds them', async () => {
  await using querent = await createQuerent({ threads: 1 });
  const options = { precision: 'int8', newTokens: 4, numBeams: 2, rounds: 1 } as const;
  const first = await benchInfer(querent, folder, options);
  const again = await benchInfer(querent, folder, options);
  expect([first.madeCache, again.madeCache]).toEqual([true, false]);
  for (const value of [again.loadSeconds, again.encodeSeconds, again.prefillSeconds, again.tokensPerSecond, again.beamCaptionsPerSecond, again.peakRssBytes]) {
    expect(value).toBeGreaterThan(0);
    expect(Number.isFinite(value)).toBe(true);
  }
});
