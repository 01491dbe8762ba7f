/** Fine-tuning on eight pictures of 64 × 64 with a ViT of width 16, from folders that stage 1 and stage 2 have trained. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TensorData } from '@querent/core';
import { validate } from '@querent/core';
import { loadTensors, openModelFolder, saveModelFolder } from '@querent/hub';
import { efficientNetLitePlugin, vitPlugin } from '@querent/encoders';
import { createGraph } from '@querent/graph';
import { createImageProcessor } from '@querent/images';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readAnnotations } from '../data/annotations.ts';
import { randomAt } from '../data/batches.ts';
import { encodedPictures } from '../data/feature-source.ts';
import { ENCODER_CONFIG, FINETUNE_RECIPE, LANGUAGE_MODEL_RECIPE, STAGE1_RECIPE, STAGE2_RECIPE, openTinyWorld, tinyPlugins } from '../tiny-world.test-helper.ts';
import type { Recipe, RecipeEvent, TrainRecipeOptions } from '../train-recipe.ts';
import { trainRecipe } from '../train-recipe.ts';
import { initialise } from '../training-graph.ts';
import { layerWiseScale, prepareFinetune } from './finetune.ts';
import type { FinetuneRecipe } from './finetune.ts';
import { recipeSchemas } from './schemas.ts';

const { folder, engine, close } = await openTinyWorld();
afterAll(close);
beforeAll(async () => {
  await run({ ...STAGE1_RECIPE, epochs: 1 }, 'stage1');
  await run({ ...LANGUAGE_MODEL_RECIPE, epochs: 40, schedule: { type: 'constant', peak: 2e-2 } }, 'lm');
  await run({ ...STAGE2_RECIPE, language_model: 'lm/model', epochs: 1 }, 'stage2');
});

function options(out: string): TrainRecipeOptions {
  return { recipeFolder: folder, dataFolder: folder, out: join(folder, out), cacheFolder: join(folder, 'cache'), engine, plugins: tinyPlugins };
}

async function run(given: object, out: string): Promise<RecipeEvent[]> {
  const events: RecipeEvent[] = [];
  const recipe = validate<Recipe>(recipeSchemas[(given as Recipe).kind]!, given);
  for await (const event of trainRecipe(recipe, options(out))) events.push(event);
  return events;
}

function recipe(change: object): FinetuneRecipe {
  return validate<FinetuneRecipe>(recipeSchemas['finetune']!, { ...FINETUNE_RECIPE, objective: 'caption', init: 'stage2/model', ...change });
}

const losses = (events: readonly RecipeEvent[]): number[] => events.flatMap((event) => (event.type === 'step' ? [event.loss] : []));
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

describe('on captions', () => {
  it('lowers the loss, moves the encoder, and saves a folder with an encoder of its own', async () => {
    const fell = losses(await run(recipe({ epochs: 12, schedule: { type: 'constant', peak: 5e-3 } }), 'caption'));
    expect(mean(fell.slice(-8))).toBeLessThan(mean(fell.slice(0, 8)) - 0.1);

    const [before, after] = [await openModelFolder(join(folder, 'stage2', 'model')), await openModelFolder(join(folder, 'caption', 'model'))];
    expect(after.config['vision_config']).toEqual(ENCODER_CONFIG);
    expect([...after.parts.keys()]).toEqual(['text_config']);
    expect([...after.parameters.keys()].sort()).toEqual([...before.parameters.keys()].sort());
    const name = 'vision_model.encoder.layer.1.output.dense.weight';
    const [was, is] = [await loadTensors(new Map([[name, before.parameters.get(name)!]])), await loadTensors(new Map([[name, after.parameters.get(name)!]]))];
    expect(is.get(name)!.data).not.toEqual(was.get(name)!.data);
    expect(after.parameters.get('language_model.model.norm.weight')!.file).toBe(before.parameters.get('language_model.model.norm.weight')!.file);
  });

  it('sums over the batches of two places in an update of two, and reaches every parameter that learns', async () => {
    const gradients = async (batch: number, places: readonly [step: number, micro: number][], accumulate: number): Promise<Map<string, Float32Array>> => {
      const prepared = await prepareFinetune(recipe({ batch, accumulate, averageDecay: 0.5 }), options('unused'));
      await using executable = await engine.compile(prepared.graph.graph, prepared.frozen, { asInputs: prepared.graph.trained, purpose: 'training' });
      const sums = new Map<string, Float32Array>();
      for (const [step, micro] of places) {
        const outputs = await executable.run({ ...(await prepared.batchAt(step, micro)).feeds, ...Object.fromEntries(prepared.start) });
        for (const name of prepared.graph.trained) {
          const gradient = outputs[`grad/${name}`]!.data as Float32Array; // float32, as the parameter
          sums.set(name, (sums.get(name) ?? new Float32Array(gradient.length)).map((value, i) => value + gradient[i]! / places.length));
        }
      }
      return sums;
    };
    // Step 0 in two halves asks for the batches at places 0 and 1, as two steps do.
    const [halves, apart] = [await gradients(2, [[0, 0], [0, 1]], 2), await gradients(2, [[0, 0], [1, 0]], 1)];
    expect(halves).toEqual(apart);
    expect([...halves.keys()].some((name) => name.startsWith('vision_model.embeddings'))).toBe(true);
    // A key's bias shifts all scores of a query alike: its gradient is nothing but rounding.
    for (const [name, values] of halves) if (!name.endsWith('key.bias')) expect([name, values.some((value) => value !== 0)]).toEqual([name, true]);
  });

  it('goes on with accumulated batches', async () => {
    expect(losses(await run(recipe({ accumulate: 2, epochs: 2 }), 'accumulated'))).toHaveLength(4);
  });
});

it('lowers the losses of retrieval as well', async () => {
  const events = await run(recipe({ objective: 'retrieval', init: 'stage1/model', epochs: 12, schedule: { type: 'constant', peak: 5e-3 } }), 'retrieval');
  const fell = losses(events);
  expect(mean(fell.slice(-6))).toBeLessThan(mean(fell.slice(0, 6)));
  const saved = await openModelFolder(join(folder, 'retrieval', 'model'));
  expect(saved.parts.size).toBe(0);
  expect(saved.tokenizerFile).toBe(join(folder, 'retrieval', 'model', 'tokenizer.json'));
});

it('reaches the first convolution of EfficientNet-Lite0, and leaves its running statistics alone', { timeout: 240_000 }, async () => {
  const config = { ...efficientNetLitePlugin.defaults, image_size: 64, features: 'block15' } as const;
  const g = createGraph('encoder');
  efficientNetLitePlugin.build(g, g.input('pixel_values', 'float32', ['batch', 3, 64, 64]), config);
  await saveModelFolder(join(folder, 'lite0'), { config, parameters: initialise(g.graph, [...g.graph.parameters.keys()], randomAt(3)) });
  const stage1 = { ...STAGE1_RECIPE, encoder: 'lite0', views: { count: 1, seed: 1, scale: [1, 1] }, qformer_config: { ...STAGE1_RECIPE.qformer_config, encoder_hidden_size: 320 }, epochs: 0.5 };
  await run(stage1, 'lite0-stage1');
  expect(losses(await run(recipe({ objective: 'retrieval', init: 'lite0-stage1/model', epochs: 0.5 }), 'lite0-finetuned'))).toHaveLength(1);

  const tensor = async (out: string, name: string): Promise<TensorData> => {
    const { parameters } = await openModelFolder(join(folder, out, 'model'));
    return (await loadTensors(new Map([[name, parameters.get(`vision_model.${name}`)!]]))).get(name)!;
  };
  const pair = async (name: string): Promise<[TensorData, TensorData]> => [await tensor('lite0-stage1', name), await tensor('lite0-finetuned', name)];
  for (const name of ['_bn0.running_mean', '_blocks.7._bn1.running_var']) {
    const [before, after] = await pair(name);
    expect(after).toEqual(before);
  }
  for (const name of ['_conv_stem.weight', '_blocks.3._depthwise_conv.weight', '_blocks.7._bn1.weight']) {
    const [before, after] = await pair(name);
    expect(after.data).not.toEqual(before.data);
  }
});

describe('the learning rate', () => {
  it('falls layer by layer towards the pixels, and is whole outside the encoder', () => {
    const scale = layerWiseScale({ plugin: vitPlugin, config: ENCODER_CONFIG }, 0.5);
    // Four layers: embeddings 0, blocks 1 and 2, the last norm 3.
    expect(scale('vision_model.embeddings.cls_token')).toBe(0.125);
    expect(scale('vision_model.encoder.layer.0.layernorm_before.weight')).toBe(0.25);
    expect(scale('vision_model.encoder.layer.1.output.dense.bias')).toBe(0.5);
    expect(scale('vision_model.layernorm.weight')).toBe(1);
    expect(scale('qformer.encoder.layer.0.output.dense.weight')).toBe(1);
    expect(scale('language_projection.weight')).toBe(1);
  });

  it('falls over all seventeen layers of EfficientNet-Lite0 in front of its head', () => {
    const scale = layerWiseScale({ plugin: efficientNetLitePlugin, config: { ...efficientNetLitePlugin.defaults } }, 0.9);
    expect(scale('vision_model._conv_stem.weight')).toBeCloseTo(0.9 ** 17, 12);
    expect(scale('vision_model._blocks.15._project_conv.weight')).toBeCloseTo(0.9, 12);
    expect(scale('vision_model._conv_head.weight')).toBe(1);
  });
});

it('shows each picture anew at each step, the same at the same step', async () => {
  const images = await readAnnotations(join(folder, 'annotations.json'));
  const source = encodedPictures({
    plugin: vitPlugin, config: ENCODER_CONFIG, processor: createImageProcessor(vitPlugin.preprocess(ENCODER_CONFIG)), scope: 'vision_model', batch: 2, images, imageFolder: join(folder, 'pictures'),
    augment: { scale: [0.3, 1] },
  });
  const pixels = async (seed: number): Promise<TensorData> => (await source.feed([0, 3], randomAt(seed)))['pixel_values']!;
  expect((await pixels(1)).shape).toEqual([2, 3, 32, 32]);
  expect(await pixels(1)).toEqual(await pixels(1));
  expect((await pixels(1)).data).not.toEqual((await pixels(2)).data);
  expect(source.features(createGraph('pixels')).shape).toEqual([2, 5, 16]);
});

describe('refused', () => {
  it('without a model to begin with, or with one that lacks the part', async () => {
    const { init: _, ...none } = recipe({});
    await expect(prepareFinetune(none, options('none'))).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID' });
    await expect(prepareFinetune(recipe({ init: 'stage1/model' }), options('none'))).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringContaining('text_config') as string });
    await expect(prepareFinetune(recipe({ init: 'nowhere' }), options('none'))).rejects.toMatchObject({ code: 'QRT_FILE' });
  });

  it('when encoder weights are missing', async () => {
    const file = join(folder, 'stage2', 'model', 'config.json');
    const text = await readFile(file, 'utf8');
    const config = JSON.parse(text) as Readonly<Record<string, unknown>>; // just written
    await writeFile(file, JSON.stringify({ ...config, vision_config: ENCODER_CONFIG }));
    await expect(prepareFinetune(recipe({}), options('none'))).rejects.toMatchObject({ code: 'QRT_CHECKPOINT_MISMATCH' });
    await writeFile(file, text);
  });
});
