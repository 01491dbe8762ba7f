/**
 * Checkpoints of a run: trained weights, both moments, their running average and the step. A checkpoint is a folder that
 * is written beside its final name and renamed, so a kill leaves either the old one or the new one. Because a batch is a
 * function of (seed, step) alone, the step is all that is needed to find the place in the data again.
 */
import { mkdir, readFile, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import { loadTensors, readSafetensors, writeFileAtomic, writeSafetensors } from '@querent/hub';

export interface CheckpointState {
  readonly step: number;
  /** A fingerprint of the recipe: a run does not resume with another one. */
  readonly recipe: string;
  /** Loss and speed so far, for the report. */
  readonly history: readonly HistoryPoint[];
}

export interface HistoryPoint {
  readonly step: number;
  readonly learningRate: number;
  readonly gradientNorm: number;
  readonly losses: Readonly<Record<string, number>>;
}

export interface Checkpoint {
  readonly state: CheckpointState;
  readonly weights: ReadonlyMap<string, TensorData>;
  readonly first: ReadonlyMap<string, TensorData>;
  readonly second: ReadonlyMap<string, TensorData>;
  /** Running average of the weights, where the recipe keeps one. */
  readonly average?: ReadonlyMap<string, TensorData>;
}

const FOLDER = /^checkpoint-(\d+)$/;
const PARTS = ['weights', 'first', 'second', 'average'] as const;

/**
 * Writes `checkpoint-<step>` into `folder` and removes older ones. One of the same step and recipe that is there already is
 * the same, and stays: putting it aside would leave a moment without any.
 * @throws QuerentError QRT_FILE
 */
export async function saveCheckpoint(folder: string, checkpoint: Checkpoint): Promise<string> {
  const target = join(folder, `checkpoint-${checkpoint.state.step}`);
  if (await isSaved(target, checkpoint.state.recipe)) return target;
  const temporary = `${target}.partial`;
  try {
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { recursive: true });
    for (const part of PARTS) {
      const tensors = checkpoint[part];
      if (tensors !== undefined) await writeSafetensors(join(temporary, `${part}.safetensors`), tensors);
    }
    await writeFileAtomic(join(temporary, 'state.json'), JSON.stringify(checkpoint.state));
    await rm(target, { recursive: true, force: true });
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined); // the first error is the one worth telling
    throw error instanceof QuerentError
      ? error
      : new QuerentError('QRT_FILE', `The checkpoint ${target} cannot be written: ${String(error)}.`, {
          fix: 'Free disk space or choose another --out; the run goes on from the checkpoint before when started again.',
          cause: error,
        });
  }
  for (const { name, step } of await listCheckpoints(folder)) {
    if (step < checkpoint.state.step) await rm(join(folder, name), { recursive: true, force: true });
  }
  return target;
}

/** The newest checkpoint of a folder, or undefined. @throws QuerentError QRT_CONFIG_INVALID when it is of another recipe. */
export async function loadCheckpoint(folder: string, recipe: string): Promise<Checkpoint | undefined> {
  const newest = (await listCheckpoints(folder)).at(-1);
  if (newest === undefined) return undefined;
  const path = join(folder, newest.name);
  const state = await readState(path);
  if (state.recipe !== recipe) {
    throw new QuerentError('QRT_CONFIG_INVALID', `${path} was made by another recipe than the one given.`, {
      fix: 'Give the recipe that the run was started with, or another --out.',
    });
  }
  const read = async (part: string): Promise<Map<string, TensorData>> => loadTensors((await readSafetensors(join(path, `${part}.safetensors`))).tensors);
  const [weights, first, second] = [await read('weights'), await read('first'), await read('second')];
  const hasAverage = (await readdir(path)).includes('average.safetensors');
  return { state, weights, first, second, ...(hasAverage ? { average: await read('average') } : {}) };
}

async function listCheckpoints(folder: string): Promise<{ name: string; step: number }[]> {
  const names = await readdir(folder).catch(() => []);
  return names
    .flatMap((name) => {
      const match = FOLDER.exec(name);
      return match === null ? [] : [{ name, step: Number(match[1]) }];
    })
    .sort((a, b) => a.step - b.step);
}

async function readState(path: string): Promise<CheckpointState> {
  try {
    const state: unknown = JSON.parse(await readFile(join(path, 'state.json'), 'utf8'));
    if (isState(state)) return state;
  } catch {
    // Reported below, like any other damage.
  }
  throw new QuerentError('QRT_CHECKPOINT_FORMAT', `${path}/state.json is damaged.`, { fix: `Remove ${path} to go on from an older checkpoint or from the start.` });
}

async function isSaved(path: string, recipe: string): Promise<boolean> {
  return readState(path).then((state) => state.recipe === recipe, () => false);
}

function isState(value: unknown): value is CheckpointState {
  if (typeof value !== 'object' || value === null) return false;
  const { step, recipe, history } = value as Record<string, unknown>; // checked on the next line
  return Number.isSafeInteger(step) && Number(step) >= 0 && typeof recipe === 'string' && Array.isArray(history);
}
