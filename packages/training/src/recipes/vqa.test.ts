/** Questions about the eight pictures of the tiny world, with and without the bridge reading them. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findMistakes, validate } from '@querent/core';
import { openModelFolder } from '@querent/hub';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LANGUAGE_MODEL_RECIPE, RUN_NUMBERS, STAGE1_RECIPE, STAGE2_RECIPE, openTinyWorld, tinyPlugins } from '../tiny-world.test-helper.ts';
import type { Recipe, RecipeEvent } from '../train-recipe.ts';
import { trainRecipe } from '../train-recipe.ts';
import { recipeSchemas } from './schemas.ts';

const { folder, engine, close } = await openTinyWorld();
afterAll(close);
beforeAll(async () => {
  const questions = ['red', 'green', 'blue', 'yellow'].flatMap((colour) =>
    ['left', 'right'].flatMap((place) => [
      { image: `${colour}-${place}.png`, question: 'what colour is the box', answer: colour },
      { image: `${colour}-${place}.png`, question: 'where is the box', answer: place },
    ]),
  );
  await writeFile(join(folder, 'questions.json'), JSON.stringify(questions));
  await run({ ...STAGE1_RECIPE, epochs: 1 }, 'stage1');
  await run({ ...LANGUAGE_MODEL_RECIPE, epochs: 40, schedule: { type: 'constant', peak: 2e-2 } }, 'lm');
  await run({ ...STAGE2_RECIPE, language_model: 'lm/model', init: 'stage1/model', epochs: 1 }, 'stage2');
});

const VQA_RECIPE = {
  ...RUN_NUMBERS, kind: 'vqa', encoder: 'encoder', language_model: 'lm/model', questions: { format: 'daquar', file: 'questions.json', images: 'pictures' },
  views: STAGE1_RECIPE.views, maxTokens: 16, init: 'stage2/model', question_to_bridge: false, dropout: 0.1,
} as const;

async function run(given: object, out: string): Promise<RecipeEvent[]> {
  const events: RecipeEvent[] = [];
  const recipe = validate<Recipe>(recipeSchemas[(given as Recipe).kind]!, given);
  for await (const event of trainRecipe(recipe, { recipeFolder: folder, dataFolder: folder, out: join(folder, out), cacheFolder: join(folder, 'cache'), engine, plugins: tinyPlugins })) events.push(event);
  return events;
}

const losses = (events: readonly RecipeEvent[]): number[] => events.flatMap((event) => (event.type === 'step' ? [event.loss] : []));
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

describe.each([false, true])('question to the bridge: %s', (question_to_bridge) => {
  it('lowers the loss and saves a folder that says how it is to be asked', async () => {
    const out = `vqa-${question_to_bridge}`;
    const events = await run({ ...VQA_RECIPE, question_to_bridge, ...(question_to_bridge ? { text_init: 'stage1/model' } : {}), epochs: 16, schedule: { type: 'constant', peak: 1e-2 } }, out);
    const fell = losses(events);
    expect(mean(fell.slice(-8))).toBeLessThan(mean(fell.slice(0, 4)) - 0.2);

    const saved = await openModelFolder(join(folder, out, 'model'));
    expect(saved.config['prompts']).toEqual({ vqa: 'Question: {} Answer:' });
    expect(Object(saved.config['qformer_config'])['use_qformer_text_input'] === true).toBe(question_to_bridge);
    expect([...saved.parameters.keys()].some((name) => name.startsWith('embeddings.word_embeddings'))).toBe(question_to_bridge);
    expect(saved.generationConfig).toMatchObject({ num_beams: 5, length_penalty: -1 });
    expect(saved.tokenizerFile === join(folder, out, 'model', 'tokenizer.json')).toBe(question_to_bridge);
    expect([...saved.parts.keys()].toSorted()).toEqual(['text_config', 'vision_config']);
  });
});

it('is refused without a bridge to begin with, without a tokenizer for it, and with a template that has no place', async () => {
  const { init: _, ...none } = VQA_RECIPE;
  await expect(run(none, 'none')).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID' });
  await expect(run({ ...VQA_RECIPE, question_to_bridge: true }, 'none')).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringContaining('tokenizer') as string });
  expect(findMistakes(recipeSchemas['vqa']!, { ...VQA_RECIPE, prompt: 'no place' })).toHaveLength(1);
});
