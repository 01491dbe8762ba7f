/** What stage 1 does against learning its pictures by heart: look-alikes in a batch, covered patches, hidden words. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { validate } from '@querent/core';
import { writeOnnx } from '@querent/graph';
import { openModelFolder } from '@querent/hub';
import { afterAll, expect, it } from 'vitest';
import { STAGE1_RECIPE, openTinyWorld, tinyPlugins } from '../tiny-world.test-helper.ts';
import type { Recipe } from '../train-recipe.ts';
import { trainRecipe } from '../train-recipe.ts';
import { encoderGraph, openEncoder } from './frozen-encoder.ts';
import { recipeSchemas } from './schemas.ts';

const { folder, engine, close } = await openTinyWorld();
afterAll(close);

async function losses(change: object, out: string): Promise<number[]> {
  const recipe = validate<Recipe>(recipeSchemas['stage1']!, { ...STAGE1_RECIPE, dropout: 0, weights: { itc: 1, itm: 1, itg: 0 }, epochs: 6, ...change });
  const seen: number[] = [];
  for await (const event of trainRecipe(recipe, { recipeFolder: folder, dataFolder: folder, out: join(folder, out), cacheFolder: join(folder, 'cache'), engine, plugins: tinyPlugins })) {
    if (event.type === 'step') seen.push(event.losses['loss']!);
  }
  return seen;
}

it('trains over look-alikes, covered patches and hidden words, the same each time', async () => {
  const hard = { neighbours: 0.5, dropPatches: 0.3, maskToken: '<s>', maskShare: 0.2 };
  const first = await losses(hard, 'hard');
  expect(first.every(Number.isFinite)).toBe(true);
  expect(await losses(hard, 'again')).toEqual(first);
  expect(await losses({}, 'plain')).not.toEqual(first);
});

it('refuses to hide words that ITG would have to write, and to hide them behind no token', async () => {
  await expect(losses({ maskToken: '<s>', maskShare: 0.2, weights: { itc: 1, itm: 1, itg: 1 } }, 'itg')).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringContaining('ITG') as string });
  await expect(losses({ maskShare: 0.2 }, 'none')).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', fix: expect.stringContaining('/maskToken') as string });
});

it('takes an encoder that is an .onnx file and its config, and the losses are those of its checkpoint', async () => {
  const { encoder, weights } = await openEncoder(await openModelFolder(join(folder, 'encoder')), tinyPlugins);
  await mkdir(join(folder, 'tower'));
  await writeFile(join(folder, 'tower', 'tower.onnx'), writeOnnx(encoderGraph(encoder), { parameters: weights }));
  const config = { model_type: 'onnx', file: 'tower.onnx', hidden_size: 16, preprocessing: encoder.plugin.preprocess(encoder.config) };
  await writeFile(join(folder, 'tower', 'config.json'), JSON.stringify(config));
  const [stored, exported] = [await losses({}, 'stored'), await losses({ encoder: 'tower' }, 'exported')];
  expect(exported.length).toBeGreaterThan(5);
  exported.forEach((loss, step) => expect(loss).toBeCloseTo(stored[step]!, 3));
  // What was trained names the folder by `from`, and is opened without weights of the encoder's own.
  expect((await openModelFolder(join(folder, 'exported', 'model'))).config['vision_config']).toMatchObject({ model_type: 'onnx', file: 'tower.onnx' });
});

it("takes what the encoder's config is to say otherwise, and the trained folder says so too", async () => {
  const changed = { encoder_config: { layer_norm_eps: 0.5 } };
  expect(await losses(changed, 'otherwise')).not.toEqual(await losses({}, 'as-it-is'));
  const { config } = await openModelFolder(join(folder, 'otherwise', 'model'));
  expect(config['vision_config']).toMatchObject({ model_type: 'vit', hidden_size: 16, layer_norm_eps: 0.5 });
  await expect(losses({ encoder_config: { image_size: -32 } }, 'wrong')).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringContaining('image_size') as string });
});
