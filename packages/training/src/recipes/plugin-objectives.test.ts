/** A dataset and objectives of somebody else in real recipes, on the real engine. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DatasetPlugin, ObjectivePlugin } from '@querent/core';
import { defineDataset, defineObjective, validate } from '@querent/core';
import { add, mul, reduceMean, sub } from '@querent/graph';
import { afterAll, expect, it } from 'vitest';
import { STAGE1_RECIPE, STAGE2_RECIPE, openTinyWorld, tinyPlugins } from '../tiny-world.test-helper.ts';
import type { Recipe } from '../train-recipe.ts';
import { trainRecipe } from '../train-recipe.ts';
import { recipeSchemas } from './schemas.ts';

const { folder, engine, close } = await openTinyWorld();
afterAll(close);

/** The mean square of the queries: pulls them to zero. */
const small: ObjectivePlugin = defineObjective({
  name: 'small-queries',
  build: (_, { image }) => ({ loss: reduceMean(mul(image.queries, image.queries), [0, 1, 2], false) }),
});
/** Reads the noise, the features and the images' ids. */
const noisy: ObjectivePlugin<{ scale: number }> = defineObjective<{ scale: number }>({
  name: 'noisy',
  configSchema: { type: 'object', properties: { scale: { type: 'number' } }, required: ['scale'], additionalProperties: false },
  build(_, { image, noise }, { scale }) {
    const [batch, queries] = [image.queries.shape[0]!, image.queries.shape[1]!];
    const drawn = noise('jitter', [batch, queries, 1], 'normal');
    const apart = sub(image.queries, mul(drawn, scale));
    return { loss: reduceMean(mul(apart, apart), [0, 1, 2], false), metrics: { jitter: reduceMean(add(drawn, 0), [0, 1, 2], false) } };
  },
});
/** The captions of the annotation file, one sample a caption. */
const lines: DatasetPlugin<{ from: string }> = defineDataset<{ from: string }>({
  name: 'lines',
  async *open({ from }, { root, split }) {
    const { images } = JSON.parse(await readFile(join(root, from), 'utf8')) as { images: { filename: string; split: string; sentences: { raw: string }[] }[] }; // our own file
    for (const { filename, split: own, sentences } of images) {
      if (split !== undefined && own !== split) continue;
      for (const [i, { raw }] of sentences.entries()) yield { id: `${filename}#${i}`, image: filename, captions: [raw] };
    }
  },
});

const named = <P extends { readonly name: string }>(plugins: readonly P[]) => (name: string): P => plugins.find((one) => one.name === name)!;
const plugins = { ...tinyPlugins, objective: named([small, noisy as ObjectivePlugin]), dataset: named([lines as DatasetPlugin]) };

async function losses(given: object, out: string, withPlugins: typeof tinyPlugins = plugins): Promise<Readonly<Record<string, number>>[]> {
  const recipe = validate<Recipe>(recipeSchemas[(given as Recipe).kind]!, given);
  const steps: Readonly<Record<string, number>>[] = [];
  const options = { recipeFolder: folder, dataFolder: folder, out: join(folder, out), cacheFolder: join(folder, 'cache'), engine, plugins: withPlugins };
  for await (const event of trainRecipe(recipe, options)) if (event.type === 'step') steps.push(event.losses);
  return steps;
}

it('stage 1 adds a plugin’s loss to its own, and shows it', async () => {
  const steps = await losses({ ...STAGE1_RECIPE, epochs: 2, objectives: [{ name: 'small-queries', weight: 2 }] }, 'one');
  const [first] = steps;
  const own = (first?.['loss_itc'] ?? 0) + (first?.['loss_itm'] ?? 0) + (first?.['loss_itg'] ?? 0);
  expect(first?.['loss']).toBeCloseTo(own + 2 * (first?.['loss_small_queries'] ?? Number.NaN), 4);
});

it('stage 2 feeds the noise that an objective asks for, the same in each run', async () => {
  const recipe = { ...STAGE2_RECIPE, epochs: 2, objectives: [{ name: 'noisy', weight: 0.5, config: { scale: 0.1 } }] };
  const [once, again] = [await losses(recipe, 'two-a'), await losses(recipe, 'two-b')];
  expect(once).toEqual(again);
  expect(new Set(once.map((step) => step['loss_noisy_jitter'])).size).toBe(once.length);
});

it('a recipe reads its images from a plugin’s dataset, captions of one image together', async () => {
  const { annotations: _, ...rest } = { ...STAGE1_RECIPE, epochs: 2 };
  const fromFile = await losses({ ...STAGE1_RECIPE, epochs: 2 }, 'file');
  expect(await losses({ ...rest, annotations: { dataset: 'lines', config: { from: 'annotations.json' }, splits: ['train'] } }, 'dataset')).toEqual(fromFile);
});

it('what does not fit is told before anything is computed', async () => {
  const code = (expected: string): unknown => expect.objectContaining({ code: expected });
  await expect(losses({ ...STAGE2_RECIPE, objectives: [{ name: 'noisy', weight: 1, config: { scal: 0.1 } }] }, 'x')).rejects.toEqual(code('QRT_CONFIG_INVALID'));
  await expect(losses({ ...STAGE1_RECIPE, objectives: [{ name: 'small-queries', weight: 1 }] }, 'x', tinyPlugins)).rejects.toEqual(code('QRT_USAGE'));
  await expect(losses({ ...STAGE1_RECIPE, annotations: { splits: ['train'] } }, 'x')).rejects.toThrow('expected a file or a dataset');
  await expect(losses({ ...STAGE1_RECIPE, annotations: { dataset: 'lines', config: { from: 'annotations.json' }, splits: ['nowhere'] } }, 'x')).rejects.toEqual(code('QRT_DATASET'));
});
