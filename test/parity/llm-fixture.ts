/** Reads a language-model fixture and compares with it. Tolerances are those of goldens/README.md. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { ParameterSet, TensorData } from '@querent/core';
import { loadTensors, readSafetensors } from '@querent/hub';
import { expect } from 'vitest';

/** One decoding run of `expected.json`. */
export interface GoldenRun {
  readonly name: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly sequences: readonly (readonly number[])[];
  readonly sequences_scores?: readonly number[];
}

export interface Fixture<Config> {
  readonly config: Config;
  readonly parameters: ParameterSet;
  readonly inputs: ReadonlyMap<string, TensorData>;
  readonly expected: ReadonlyMap<string, TensorData>;
  readonly generations: readonly GoldenRun[];
}

export async function readFixture<Config>(name: string): Promise<Fixture<Config>> {
  const at = (file: string): string => fileURLToPath(new URL(`../goldens/v1/${name}/${file}`, import.meta.url));
  const json = async (file: string): Promise<unknown> => JSON.parse(await readFile(at(file), 'utf8'));
  const tensors = async (file: string): Promise<ReadonlyMap<string, TensorData>> => loadTensors((await readSafetensors(at(file))).tensors);
  return {
    config: (await json('config.json')) as Config, // the fixture's own config, written by transformers
    parameters: (await readSafetensors(at('model.safetensors'))).tensors,
    inputs: await tensors('inputs.safetensors'),
    expected: await tensors('expected.safetensors'),
    generations: ((await json('expected.json')) as { generations: readonly GoldenRun[] }).generations,
  };
}

/** A tensor that the fixture must have. */
export function need(tensors: ReadonlyMap<string, TensorData>, name: string): TensorData {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new Error(`the fixture has no tensor ${name}, only ${[...tensors.keys()].join(', ')}`);
  return tensor;
}

/** max|a-b| <= tolerance * max(1, max|b|), over the rows where `mask` (one entry per last-axis row) is not 0. */
export function expectClose(actual: TensorData | undefined, expected: TensorData, tolerance = 2e-5, mask?: TensorData): void {
  expect(actual?.shape).toEqual(expected.shape);
  const width = expected.shape.at(-1) ?? 1;
  let worst = 0;
  let largest = 1;
  for (let i = 0; i < expected.data.length; i++) {
    if (mask !== undefined && Number(mask.data[Math.floor(i / width)]) === 0) continue;
    worst = Math.max(worst, Math.abs(Number(actual?.data[i]) - Number(expected.data[i])));
    largest = Math.max(largest, Math.abs(Number(expected.data[i])));
  }
  expect(worst / largest).toBeLessThanOrEqual(tolerance);
}

/** Columns `start` to `end` of an int64 [batch, tokens] tensor. */
export function columns(tensor: TensorData, start: number, end: number): TensorData<'int64'> {
  const [batch, tokens] = tensor.shape as [number, number];
  const data = new BigInt64Array(batch * (end - start));
  for (let row = 0; row < batch; row++) {
    for (let i = start; i < end; i++) data[row * (end - start) + i - start] = BigInt(Number(tensor.data[row * tokens + i]));
  }
  return { dtype: 'int64', shape: [batch, end - start], data };
}
