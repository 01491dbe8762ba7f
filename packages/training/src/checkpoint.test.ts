import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TensorData } from '@querent/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Checkpoint } from './checkpoint.ts';
import { loadCheckpoint, saveCheckpoint } from './checkpoint.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-checkpoint-'));
});
afterEach(() => rm(folder, { recursive: true }));

function checkpoint(step: number, value: number): Checkpoint {
  const tensors = (factor: number): ReadonlyMap<string, TensorData> => new Map([['w', { dtype: 'float32', shape: [2], data: Float32Array.of(value * factor, -value) }]]);
  return {
    state: { step, recipe: 'abc', history: [{ step, learningRate: 0.1, gradientNorm: 2, losses: { loss: value } }] },
    weights: tensors(1),
    first: tensors(2),
    second: tensors(3),
    average: tensors(4),
  };
}

it('comes back as it was saved', async () => {
  const path = await saveCheckpoint(folder, checkpoint(5, 1.5));
  expect(path).toBe(join(folder, 'checkpoint-5'));
  const { average, ...loaded } = (await loadCheckpoint(folder, 'abc'))!;
  const { average: savedAverage, ...saved } = checkpoint(5, 1.5);
  expect(loaded).toEqual(saved);
  expect(average).toEqual(savedAverage);
});

it('takes the place of older ones', async () => {
  for (const step of [5, 9, 10]) await saveCheckpoint(folder, checkpoint(step, step));
  expect(await readdir(folder)).toEqual(['checkpoint-10']);
  expect((await loadCheckpoint(folder, 'abc'))!.state.step).toBe(10);
});

it('is undefined where there is none', async () => {
  expect(await loadCheckpoint(join(folder, 'nowhere'), 'abc')).toBeUndefined();
  await mkdir(join(folder, 'checkpoint-7.partial'));
  expect(await loadCheckpoint(folder, 'abc')).toBeUndefined();
});

it('leaves the old one, and nothing half-written, when a write fails', async () => {
  await saveCheckpoint(folder, checkpoint(5, 1));
  // The last file of the five cannot be written: JSON has no BigInt.
  const broken = { ...checkpoint(6, 2), state: { step: 6, recipe: 'abc', history: [1n] } } as unknown as Checkpoint;
  await expect(saveCheckpoint(folder, broken)).rejects.toMatchObject({ code: 'QRT_FILE' });
  expect(await readdir(folder)).toEqual(['checkpoint-5']);
  expect((await loadCheckpoint(folder, 'abc'))!.state.step).toBe(5);
});

it('says so when the folder cannot be written', async () => {
  await writeFile(join(folder, 'file'), '');
  await expect(saveCheckpoint(join(folder, 'file'), checkpoint(1, 1))).rejects.toMatchObject({ code: 'QRT_FILE' });
});

it('is not written again when it is there', async () => {
  await saveCheckpoint(folder, checkpoint(5, 1));
  await saveCheckpoint(folder, checkpoint(5, 2));
  expect((await loadCheckpoint(folder, 'abc'))!.weights.get('w')!.data[0]).toBe(1);
});

it('is refused when it is of another recipe', async () => {
  await saveCheckpoint(folder, checkpoint(5, 1));
  await expect(loadCheckpoint(folder, 'other')).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID' });
});

describe('damage', () => {
  for (const [what, text] of [['is cut', '{"step": 5, "rec'], ['is empty', ''], ['is a list', '[]'], ['has no step', '{"recipe": "abc", "history": []}'], ['has a negative step', '{"step": -1, "recipe": "abc", "history": []}']] as const) {
    it(`is refused when the state ${what}`, async () => {
      await writeFile(join(await saveCheckpoint(folder, checkpoint(5, 1)), 'state.json'), text);
      await expect(loadCheckpoint(folder, 'abc')).rejects.toMatchObject({ code: 'QRT_CHECKPOINT_FORMAT' });
    });
  }

  it('is refused when the state is missing, or weights are missing or cut', async () => {
    const path = await saveCheckpoint(folder, checkpoint(5, 1));
    await writeFile(join(path, 'first.safetensors'), 'short');
    await expect(loadCheckpoint(folder, 'abc')).rejects.toMatchObject({ code: 'QRT_CHECKPOINT_FORMAT' });
    await rm(join(path, 'first.safetensors'));
    await expect(loadCheckpoint(folder, 'abc')).rejects.toMatchObject({ code: 'QRT_FILE' });
    await rm(join(path, 'state.json'));
    await expect(loadCheckpoint(folder, 'abc')).rejects.toMatchObject({ code: 'QRT_CHECKPOINT_FORMAT' });
  });
});
