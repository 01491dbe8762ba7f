/**
 * Training on both engines: loss curves side by side from the same seed, a run that begins on one engine and ends on the other, and
 * memory that stays where it is. TensorFlow.js is its native addon where that is built, else plain JavaScript.
 */
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Engine } from '@querent/core';
import { float32, int64, validate } from '@querent/core';
import { createOnnxEngine } from '@querent/engine-onnx';
import { createGraph, embedding, grad, linear, reduceMean, softmax } from '@querent/graph';
import { recipeSchemas, trainRecipe } from '@querent/training';
import type { Recipe, TrainRecipeOptions } from '@querent/training';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { STAGE1_RECIPE, STAGE2_RECIPE, createTinyWorld, tinyPlugins } from '../../packages/training/src/tiny-world.test-helper.ts';
import { tfjsEngines } from './backends.ts';

const STEPS = 50;
const available = await tfjsEngines();
const tfjs = available.find(({ name }) => name === 'tfjs:node') ?? available.find(({ name }) => name === 'tfjs:cpu')!;
const onnxruntime: Engine = createOnnxEngine({ threads: 1 });
let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-engines-'));
  await createTinyWorld(folder);
});
afterAll(async () => {
  for (const engine of [onnxruntime, ...available]) await engine[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

interface Run {
  readonly out: string;
  readonly engine: Engine;
  readonly init?: string;
  /** Leaves after this many steps, as Ctrl-C does. */
  readonly leaveAfter?: number;
}

/** The losses of a run, step by step. */
async function losses(given: object, { out, engine, init, leaveAfter }: Run): Promise<number[]> {
  const recipe = validate<Recipe>(recipeSchemas[(given as Recipe).kind]!, given); // what a recipe of the tiny world is
  const options: TrainRecipeOptions = { recipeFolder: folder, dataFolder: folder, out: join(folder, out), cacheFolder: join(folder, 'cache'), engine, plugins: tinyPlugins, ...(init === undefined ? {} : { init }) };
  const found: number[] = [];
  for await (const event of trainRecipe(recipe, options)) {
    if (event.type !== 'step') continue;
    found.push(event.loss);
    if (found.length === leaveAfter) break;
  }
  return found;
}

const relative = (a: number, b: number): number => Math.abs(a - b) / Math.abs(a);

describe(`onnxruntime:cpu and ${tfjs.name}`, () => {
  test('have the same loss at step 50 of stage 1 and of stage 2', async () => {
    // 8 pictures in batches of 4: an epoch is two steps over the pictures of stage 1, four over the captions of stage 2
    const [stage1, stage2] = [{ ...STAGE1_RECIPE, epochs: STEPS / 2 }, { ...STAGE2_RECIPE, epochs: Math.ceil(STEPS / 4) }];
    const first = [await losses(stage1, { out: 'one', engine: onnxruntime }), await losses(stage1, { out: 'one-tfjs', engine: tfjs })] as const;
    const init = join(folder, 'one', 'model');
    const second = [await losses(stage2, { out: 'two', engine: onnxruntime, init }), await losses(stage2, { out: 'two-tfjs', engine: tfjs, init })] as const;
    for (const [ours, theirs] of [first, second]) {
      expect(ours.length).toBeGreaterThanOrEqual(STEPS);
      expect(theirs).toHaveLength(ours.length);
      expect(ours[STEPS - 1]!).toBeLessThan(ours[0]!);
      expect(relative(ours[STEPS - 1]!, theirs[STEPS - 1]!)).toBeLessThanOrEqual(1e-3);
      expect(relative(ours[0]!, theirs[0]!)).toBeLessThanOrEqual(1e-5);
    }
  }, 300_000);

  test('go on where the other stopped, from the same checkpoint', async () => {
    const recipe = { ...STAGE1_RECIPE, epochs: 4 };
    const whole = await losses(recipe, { out: 'whole', engine: onnxruntime });
    await losses(recipe, { out: 'begun-on-onnxruntime', engine: onnxruntime, leaveAfter: 3 });
    expect(await readdir(join(folder, 'begun-on-onnxruntime', 'checkpoints'))).not.toEqual([]);
    await cp(join(folder, 'begun-on-onnxruntime'), join(folder, 'copy'), { recursive: true });
    const ended = await losses(recipe, { out: 'copy', engine: tfjs });
    expect(ended).toHaveLength(whole.length - 3);
    ended.forEach((loss, i) => expect(relative(whole[i + 3]!, loss)).toBeLessThanOrEqual(1e-3));
    await losses(recipe, { out: 'begun-on-tfjs', engine: tfjs, leaveAfter: 5 });
    const back = await losses(recipe, { out: 'begun-on-tfjs', engine: onnxruntime });
    back.forEach((loss, i) => expect(relative(whole[i + 5]!, loss)).toBeLessThanOrEqual(1e-3));
  }, 120_000);
});

test.each(available.map((engine) => [engine.name, engine] as const))('%s: a thousand steps leave no tensor behind', async (_, engine) => {
  const g = createGraph('steps');
  const ids = g.input('ids', 'int64', ['batch']);
  const table = g.parameter('table', [5, 4]);
  const loss = reduceMean(softmax(linear(g.scope('head'), embedding(g.scope('words'), ids, 5, 4), 3)), [0, 1], false);
  g.output('loss', loss);
  g.output('rows', table);
  const parameters = [...g.graph.parameters.values()];
  grad(loss, parameters.filter(({ name }) => name !== 'table').map(({ tensor }) => tensor)).forEach((gradient, i) => g.output(`grad${i}`, gradient));
  const values = new Map(parameters.map(({ name, shape }) => [name, float32(shape, Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i)))]));
  await using executable = await engine.compile(g.graph, values, { asInputs: ['table'] });
  const feeds = { ids: int64([3], [0, 4, 4]), table: values.get('table')! };
  const { tf } = engine.choice.backend;
  const { rows } = await executable.run(feeds);
  expect(rows!.data).not.toBe(feeds.table.data);
  const before = tf.memory().numTensors;
  for (let step = 0; step < 1000; step++) await executable.run(feeds);
  expect(tf.memory().numTensors).toBe(before);
  await expect(executable.run({ ...feeds, ids: int64([3], BigInt64Array.of(0n, 1n, 2n ** 40n)) })).rejects.toMatchObject({ code: 'QRT_ENGINE_FEED', message: expect.stringContaining('int32') as string });
  expect(tf.memory().numTensors).toBe(before);
}, 120_000);
