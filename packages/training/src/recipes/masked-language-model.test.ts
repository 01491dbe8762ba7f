import { join } from 'node:path';
import fc from 'fast-check';
import { validate } from '@querent/core';
import { loadTensors, openModelFolder } from '@querent/hub';
import { afterAll, expect, it } from 'vitest';
import { randomAt } from '../data/batches.ts';
import { RUN_NUMBERS, STAGE1_RECIPE, openTinyWorld, tinyPlugins } from '../tiny-world.test-helper.ts';
import type { Recipe, RecipeEvent } from '../train-recipe.ts';
import { trainRecipe } from '../train-recipe.ts';
import { maskTokens } from './masked-language-model.ts';
import { recipeSchemas } from './schemas.ts';

const { folder, engine, close } = await openTinyWorld();
afterAll(close);

async function run(given: object, out: string): Promise<RecipeEvent[]> {
  const recipe = validate<Recipe>(recipeSchemas[(given as Recipe).kind]!, given);
  const events: RecipeEvent[] = [];
  const paths = { recipeFolder: folder, dataFolder: folder, out: join(folder, out), cacheFolder: join(folder, 'cache') };
  for await (const event of trainRecipe(recipe, { ...paths, engine, plugins: tinyPlugins })) events.push(event);
  return events;
}

const RECIPE = {
  kind: 'masked-language-model',
  qformer_config: STAGE1_RECIPE.qformer_config,
  num_query_tokens: STAGE1_RECIPE.num_query_tokens,
  image_text_hidden_size: STAGE1_RECIPE.image_text_hidden_size,
  vision_layer_norm: true,
  tokenizer: 'tokenizers/retrieval',
  text: { files: [], annotations: { ...STAGE1_RECIPE.annotations, repeat: 4 } },
  maxTokens: 16,
  maskToken: '<s>',
  maskShare: 0.3,
  dropout: 0.1,
  ...RUN_NUMBERS,
  epochs: 12,
} as const;

it('asks for what it hides, and for at least one token', () => {
  const masking = { mask: 1, share: 0.3, firstWord: 6, vocabulary: 40 };
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 6, max: 39 }), { minLength: 1, maxLength: 20 }), fc.nat(), (ids, seed) => {
      const { ids: shown, labels } = maskTokens(ids, masking, randomAt(seed));
      expect(labels.some((label) => label !== -100)).toBe(true);
      ids.forEach((id, i) => {
        expect([id, -100]).toContain(labels[i]);
        if (labels[i] === -100) expect(shown[i]).toBe(id);
        else expect(shown[i] === masking.mask || (shown[i]! >= masking.firstWord && shown[i]! < masking.vocabulary)).toBe(true);
      });
    }),
  );
});

it('teaches the text stream alone, and stage 1 goes on from it', async () => {
  const events = await run(RECIPE, 'text');
  const losses = events.flatMap((event) => (event.type === 'step' ? [event.losses['loss']!] : []));
  expect(losses.at(-1)!).toBeLessThan(losses[0]! - 0.5);
  const trained = await openModelFolder(join(folder, 'text', 'model'));
  const names = [...trained.parameters.keys()];
  expect(names).toContain('embeddings.word_embeddings.weight');
  expect(names.filter((name) => /crossattention|_query|query_tokens|itm_head|projection/.test(name))).toEqual([]);

  const { qformer_config: _config, ...bridge } = STAGE1_RECIPE;
  const frozenRate = { ...RUN_NUMBERS.schedule, peak: 1e-30, minimum: 0 };
  await run({ ...bridge, init: 'text/model', epochs: 1, schedule: frozenRate }, 'stage1');
  const [before, after] = await Promise.all([trained, await openModelFolder(join(folder, 'stage1', 'model'))].map(async ({ parameters }) => loadTensors(parameters)));
  const close = (name: string, from: string): void => {
    const [a, b] = [after!.get(name)!.data, before!.get(from)!.data];
    expect(Math.max(...Array.from(a as Float32Array, (value, i) => Math.abs(value - Number(b[i]))))).toBeLessThan(1e-5);
  };
  close('qformer.encoder.layer.0.attention.attention.key.weight', 'qformer.encoder.layer.0.attention.attention.key.weight');
  close('qformer.encoder.layer.1.intermediate_query.dense.weight', 'qformer.encoder.layer.1.intermediate.dense.weight');
});

it('refuses a mask token that the tokenizer lacks', async () => {
  await expect(run({ ...RECIPE, maskToken: '[MASK]' }, 'lacking')).rejects.toMatchObject({ code: 'QRT_TOKENIZER', message: expect.stringContaining('[MASK]') as string });
});
