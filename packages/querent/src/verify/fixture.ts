/** A fixture folder: what it holds decides what it is; its name never does. Everything in it is checked before it is believed. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ParameterSet, Plugin, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import { isJsonObject, loadTensors, readJsonObjectIfThere, readSafetensors } from '@querent/hub';
import type { JsonObject } from '@querent/hub';
import type { CompareOptions, Comparison, VerifyReport } from './report.ts';
import { compareTensors } from './report.ts';

/** Tensors by name, fully read. */
export type Tensors = ReadonlyMap<string, TensorData>;

export interface Fixture {
  readonly folder: string;
  /** `engine:backend` that its graphs run on. */
  readonly engine: string;
  /** Plugins beside the built-in ones; they come first. */
  readonly plugins: readonly Plugin[];
  /** `config.json`; undefined for what has no model (optimisers, images, tokenizers). */
  readonly config: JsonObject | undefined;
  /** `expected.json`: ids, options, notes. */
  readonly notes: JsonObject;
  readonly weights: ParameterSet;
  readonly inputs: Tensors;
  readonly expected: Tensors;
  /** What has been found so far. */
  readonly outputs: Comparison[];
  readonly notCompared: { name: string; reason: string }[];
}

/** @throws QuerentError QRT_FILE when there is no such folder, QRT_CHECKPOINT_FORMAT and QRT_CONFIG_UNREADABLE for damaged files. */
export async function openFixture(folder: string, engine = 'onnxruntime:cpu', plugins: readonly Plugin[] = []): Promise<Fixture> {
  const isFolder = await stat(folder).then((found) => found.isDirectory(), () => false);
  if (!isFolder) throw new QuerentError('QRT_FILE', `There is no folder ${folder}.`, { fix: 'Name a folder with config.json, model.safetensors, inputs.safetensors and expected.safetensors.', details: { folder } });
  const tensors = async (file: string): Promise<Tensors> => loadTensors(await tensorsIfThere(join(folder, file)));
  return {
    folder,
    engine,
    plugins,
    config: await readJsonObjectIfThere(join(folder, 'config.json')),
    notes: (await readJsonObjectIfThere(join(folder, 'expected.json'))) ?? {},
    weights: await tensorsIfThere(join(folder, 'model.safetensors')),
    inputs: await tensors('inputs.safetensors'),
    expected: await tensors('expected.safetensors'),
    outputs: [],
    notCompared: [],
  };
}

async function tensorsIfThere(path: string): Promise<ParameterSet> {
  const isThere = await stat(path).then(() => true, () => false);
  return isThere ? (await readSafetensors(path)).tensors : new Map();
}

/** An input that a fixture of this kind must have. */
export function input(fixture: Fixture, name: string): TensorData {
  const tensor = fixture.inputs.get(name);
  if (tensor === undefined) {
    throw new QuerentError('QRT_CHECKPOINT_FORMAT', `${join(fixture.folder, 'inputs.safetensors')} has no tensor ${name}; it has ${[...fixture.inputs.keys()].join(', ') || 'none'}.`, {
      fix: 'The fixture is not complete: make it again.',
    });
  }
  return tensor;
}

/** Compares one computed output, when it is expected. */
export function check(fixture: Fixture, name: string, actual: TensorData | undefined, options: CompareOptions = {}): void {
  const expected = fixture.expected.get(name);
  if (expected === undefined || actual === undefined) return;
  fixture.outputs.push(compareTensors(name, actual, expected, options));
}

/** Compares each output that a graph gave. */
export function checkAll(fixture: Fixture, outputs: Tensors): void {
  for (const [name, actual] of outputs) check(fixture, name, actual);
}

/** The report, once everything that can be has been compared. */
export function reportOf(fixture: Fixture, kind: string): VerifyReport {
  const known = new Set([...fixture.outputs, ...fixture.notCompared].map(({ name }) => name));
  const rest = [...fixture.expected.keys()].filter((name) => !known.has(name)).map((name) => ({ name, reason: 'not computed here' }));
  const outputs = fixture.outputs.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return {
    folder: fixture.folder,
    kind,
    outputs,
    notCompared: [...fixture.notCompared, ...rest],
    isWithin: outputs.length > 0 && outputs.every(({ isWithin }) => isWithin),
  };
}

/** A part of a config that must be an object. */
export function part(config: JsonObject | undefined, key: string): JsonObject {
  const value = config?.[key];
  return isJsonObject(value) ? value : {};
}

/** A whole number of `expected.json`. */
export function numberOf(notes: JsonObject, key: string): number {
  const value = notes[key];
  if (typeof value !== 'number') throw new QuerentError('QRT_CONFIG_INVALID', `expected.json has no number ${key}.`, { fix: 'The fixture is not complete: make it again.' });
  return value;
}
