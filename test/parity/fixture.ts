/** Reads a fixture folder of `test/goldens/v1` and compares what a graph gives with what it expects. */
import { fileURLToPath } from 'node:url';
import type { Graph, ParameterSet, TensorData } from '@querent/core';
import { createOnnxEngine } from '@querent/engine-onnx';
import { loadTensors, readJsonObject, readSafetensors } from '@querent/hub';
import type { JsonObject } from '@querent/hub';
import { expect } from 'vitest';

export interface Fixture {
  readonly config: JsonObject;
  readonly weights: ReadonlyMap<string, TensorData>;
  readonly inputs: ReadonlyMap<string, TensorData>;
  readonly expected: ReadonlyMap<string, TensorData>;
  /** `expected.json`. */
  readonly notes: JsonObject;
}

export async function readFixture(name: string): Promise<Fixture> {
  const path = (file: string): string => fileURLToPath(new URL(`../goldens/v1/${name}/${file}`, import.meta.url));
  const tensors = async (file: string): Promise<ReadonlyMap<string, TensorData>> => loadTensors((await readSafetensors(path(file))).tensors);
  return {
    config: await readJsonObject(path('config.json')),
    weights: await tensors('model.safetensors'),
    inputs: await tensors('inputs.safetensors'),
    expected: await tensors('expected.safetensors'),
    notes: await readJsonObject(path('expected.json')),
  };
}

/** A tensor that must be there. */
export function pick(tensors: ReadonlyMap<string, TensorData>, name: string): TensorData {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new Error(`no tensor ${name}; there are ${[...tensors.keys()].join(', ')}`);
  return tensor;
}

/** Compiles and runs once, in place, with a single thread. */
export async function runOnce(graph: Graph, weights: ParameterSet, feeds: Readonly<Record<string, TensorData>>): Promise<ReadonlyMap<string, TensorData>> {
  await using engine = createOnnxEngine({ threads: 1 });
  const needed = new Map([...weights].filter(([name]) => graph.parameters.has(name)));
  await using executable = await engine.compile(graph, needed);
  return new Map(Object.entries(await executable.run(feeds)));
}

/**
 * Fails unless `actual` is within `tolerance` of the largest magnitude of `expected`.
 * `counts` says which rows along the leading axes are compared: padding is not.
 */
export function expectClose(actual: TensorData, expected: TensorData, tolerance = 2e-5, counts?: TensorData): void {
  expect(actual.shape).toEqual(expected.shape);
  const rows = counts === undefined ? 1 : counts.data.length;
  const rowLength = expected.data.length / rows;
  let largest = 0;
  let worst = 0;
  for (let i = 0; i < expected.data.length; i++) {
    if (counts !== undefined && Number(counts.data[Math.floor(i / rowLength)]) === 0) continue;
    const [a, b] = [Number(actual.data[i]), Number(expected.data[i])];
    largest = Math.max(largest, Math.abs(b));
    worst = Math.max(worst, Number.isNaN(a) ? Infinity : Math.abs(a - b));
  }
  expect(worst).toBeLessThanOrEqual(tolerance * largest);
}
