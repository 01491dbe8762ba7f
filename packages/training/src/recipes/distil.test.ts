/** Distillation as a recipe: real pictures, the real engine, a teacher whose features can be told from the pixels. */
import { cp, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { EncoderConfig, EncoderPlugin, TensorData } from '@querent/core';
import { validate } from '@querent/core';
import { averagePool, reshape, transpose } from '@querent/graph';
import { openModelFolder, saveModelFolder } from '@querent/hub';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ENCODER_CONFIG, RUN_NUMBERS, STAGE1_RECIPE, openTinyWorld, tinyPlugins } from '../tiny-world.test-helper.ts';
import type { Recipe, RecipeEvent, TrainRecipeOptions, TrainingPlugins } from '../train-recipe.ts';
import { trainRecipe } from '../train-recipe.ts';
import type { DistilRecipe } from './distil.ts';
import { distilRecipeSchema, prepareDistil } from './distil.ts';
import type { PreparedRun } from './common.ts';

/** The mean level of each patch, 1 … -1: what it gives shows which part of a picture it saw, and which way round. */
const patchMeans: EncoderPlugin<EncoderConfig & { readonly image_size: number }> = {
  kind: 'encoder',
  name: 'patch-means',
  contract: 1,
  configSchema: { type: 'object' },
  defaults: { model_type: 'patch-means', image_size: 48 },
  preprocess: ({ image_size: side }) => ({ ...tinyPlugins.encoder('vit').preprocess(ENCODER_CONFIG as EncoderConfig), size: { height: side, width: side }, resample: 3 }),
  width: () => 3,
  patches: () => 4,
  build: (_, pixels, config) => {
    const half = config.image_size / 2;
    return { lastHiddenState: transpose(reshape(averagePool(pixels, { kernel: [half, half], strides: [half, half] }), [pixels.shape[0]!, 3, 4]), [0, 2, 1]) };
  },
  layers: () => 1,
  layerOf: () => 0,
};

const plugins: TrainingPlugins = { ...tinyPlugins, encoder: (name) => (name === 'patch-means' ? (patchMeans as unknown as EncoderPlugin) : tinyPlugins.encoder(name)) }; // a plugin gets back the config it made

const RECIPE = {
  kind: 'distil',
  teacher: 'means',
  student_config: ENCODER_CONFIG,
  pictures: [{ images: 'pictures', annotations: { file: 'annotations.json', splits: ['train'] } }, { images: 'photos' }],
  views: { count: 4, seed: 7, scale: [0.3, 1] },
  ...RUN_NUMBERS,
} as const;

const { folder, engine, close } = await openTinyWorld();
afterAll(close);
beforeAll(async () => {
  await cp(fileURLToPath(new URL('../../../../test/photos', import.meta.url)), join(folder, 'photos'), { recursive: true });
  await saveModelFolder(join(folder, 'means'), { config: { model_type: 'patch-means', image_size: 48 }, parameters: new Map([['none', { dtype: 'float32', shape: [1], data: Float32Array.of(0) }]]) });
});

function recipe(change: object = {}): DistilRecipe {
  return validate<DistilRecipe>(distilRecipeSchema, { ...RECIPE, ...change });
}

function options(out: string, change: Partial<TrainRecipeOptions> = {}): TrainRecipeOptions {
  return { recipeFolder: folder, dataFolder: folder, out: join(folder, out), cacheFolder: join(folder, 'cache'), engine, plugins, ...change };
}

async function run(given: Recipe, out: string, change: Partial<TrainRecipeOptions> = {}): Promise<RecipeEvent[]> {
  const events: RecipeEvent[] = [];
  for await (const event of trainRecipe(given, options(out, change))) events.push(event);
  return events;
}

async function prepared(given: DistilRecipe): Promise<PreparedRun> {
  const preparing = prepareDistil(given, options('prepared'));
  for (;;) {
    const state = await preparing.next();
    if (state.done === true) return state.value;
  }
}

/** The mean level of each quarter of float32 [batch, 3, side, side], as patchMeans gives it: [batch, 4, 3]. */
function quarters({ data, shape }: TensorData<'float32'>): number[] {
  const [batch, , side] = shape as [number, number, number]; // [batch, 3, side, side]
  const half = side / 2;
  const means = Array.from({ length: batch * 12 }, () => 0);
  data.forEach((value, i) => {
    const [x, y, channel, image] = [i % side, Math.floor(i / side) % side, Math.floor(i / side ** 2) % 3, Math.floor(i / (3 * side ** 2))];
    means[image * 12 + (2 * Math.floor(y / half) + Math.floor(x / half)) * 3 + channel]! += value / half ** 2;
  });
  return means;
}

describe('a distillation recipe', () => {
  it('shows the student the crop and flip that the teacher saw', async () => {
    const one = await prepared(recipe({ batch: 1 }));
    const seen = new Set<string>();
    for (let step = 0; step < 40; step++) {
      const { feeds } = await one.batchAt(step, 0);
      const [pixels, features] = [feeds['pixel_values'], feeds['teacher_features']] as TensorData<'float32'>[]; // both are float32
      const [student, teacher] = [quarters(pixels!), [...features!.data]];
      // One size is resampled from the other only through the picture: about one level of 255 between them.
      student.forEach((mean, i) => expect(Math.abs(mean - teacher[i]!)).toBeLessThan(0.05));
      seen.add(teacher.map((mean) => mean.toFixed(2)).join());
    }
    expect(seen.size).toBeGreaterThan(20); // and views do differ
    await one.close?.();
  });

  it('gives the same batch for the same step, with other colours when they are to vary', async () => {
    const [plain, again, coloured] = [await prepared(recipe()), await prepared(recipe()), await prepared(recipe({ jitter: { brightness: 0.4, saturation: 0.4 } }))];
    const [first, second, third] = [await plain.batchAt(3, 0), await again.batchAt(3, 0), await coloured.batchAt(3, 0)];
    expect(second).toEqual(first);
    expect(third.feeds['teacher_features']).toEqual(first.feeds['teacher_features']);
    expect(third.feeds['pixel_values']).not.toEqual(first.feeds['pixel_values']);
    for (const each of [plain, again, coloured]) await each.close?.();
  });

  it('learns, and saves an encoder without the head, which stage 1 can name', async () => {
    const events = await run(recipe({ epochs: 30 }), 'student');
    const losses = events.flatMap((event) => (event.type === 'step' ? [event.losses] : []));
    expect(losses[0]!['r2']!).toBeLessThan(0.2);
    const last = losses.slice(-5).map((step) => step['r2']!);
    expect(last.reduce((a, b) => a + b) / last.length).toBeGreaterThan(0.5);
    expect(losses.at(-1)!['loss']!).toBeLessThan(0.7 * losses[0]!['loss']!);

    const saved = await openModelFolder(join(folder, 'student', 'model'));
    expect(saved.config).toMatchObject({ model_type: 'vit', image_size: 32, hidden_size: 16 });
    expect(saved.parameters.get('embeddings.patch_embeddings.projection.weight')).toMatchObject({ dtype: 'float32', shape: [16, 3, 16, 16] });
    expect([...saved.parameters.keys()].filter((name) => !/^(embeddings|encoder|layernorm)\./.test(name))).toEqual([]);

    const bridge = await run({ ...STAGE1_RECIPE, encoder: 'student/model', epochs: 1 } as unknown as Recipe, 'bridge'); // the recipe's arrays are constants
    expect(bridge.at(-1)).toMatchObject({ type: 'saved' });
  });

  it('goes on to bit-equal weights after it was stopped', async () => {
    const given = recipe({ epochs: 3, accumulate: 2, jitter: { contrast: 0.2 } });
    await run(given, 'whole');
    const stop = new AbortController();
    await expect((async () => {
      for await (const event of trainRecipe(given, options('stopped', { signal: stop.signal }))) if (event.type === 'step' && event.step === 2) stop.abort();
    })()).rejects.toBeDefined();
    expect(await readdir(join(folder, 'stopped', 'checkpoints'))).toEqual(['checkpoint-2']);
    const resumed = await run(given, 'stopped');
    expect(resumed[0]).toMatchObject({ type: 'start', step: 2 });
    const weights = (out: string): Promise<Buffer> => readFile(join(folder, out, 'model', 'model.safetensors'));
    expect((await weights('stopped')).equals(await weights('whole'))).toBe(true);
  });

  it('computes the caches once; who leaves meanwhile goes on there', async () => {
    const cacheFolder = join(folder, 'second-cache');
    for await (const event of trainRecipe(recipe(), options('left', { cacheFolder }))) {
      expect(event).toMatchObject({ type: 'prepare', what: 'features' });
      break;
    }
    const kinds = (events: readonly RecipeEvent[]): string[] => events.flatMap((event) => (event.type === 'prepare' ? [event.what] : []));
    const first = kinds(await run(recipe({ epochs: 1 }), 'left', { cacheFolder }));
    expect(first).toContain('pixels');
    expect(kinds(await run(recipe({ epochs: 1 }), 'again', { cacheFolder }))).toEqual([]);
  });
});

it('shares the features of its teacher with the recipes that train a bridge on them', async () => {
  const own = { cacheFolder: join(folder, 'shared-cache') };
  const prepare = (events: readonly RecipeEvent[]): boolean => events.some((event) => event.type === 'prepare' && event.what === 'features');
  expect(prepare(await run(recipe({ teacher: 'encoder', pictures: RECIPE.pictures.slice(0, 1), views: STAGE1_RECIPE.views, epochs: 1 }), 'sharing', own))).toBe(true);
  expect(prepare(await run({ ...STAGE1_RECIPE, epochs: 1 } as unknown as Recipe, 'shared', own))).toBe(false); // the recipe's arrays are constants
});

describe('what does not fit is refused', () => {
  it('grids of different size', async () => {
    await expect(run(recipe({ student_config: { ...ENCODER_CONFIG, image_size: 48 } }), 'grid')).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringContaining('10 vectors') as string });
  });

  it('a student that its family does not know', async () => {
    await expect(run(recipe({ student_config: { model_type: 'vit', hidden_size: 'wide' } }), 'config')).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID' });
  });

  it('a folder without pictures, or none', async () => {
    await expect(run(recipe({ pictures: [{ images: 'tokenizers' }] }), 'none')).rejects.toMatchObject({ code: 'QRT_DATASET' });
    await expect(run(recipe({ pictures: [{ images: 'nowhere' }] }), 'none')).rejects.toMatchObject({ code: 'QRT_DATASET' });
  });
});
