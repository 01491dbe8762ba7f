/** Self-critical training with the language models' own sampling loop. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { validate } from '@querent/core';
import { createOnnxEngine } from '@querent/engine-onnx';
import { collect, decodeGraph, generateOn, prefillGraph } from '@querent/llm-adapters';
import { expect, it } from 'vitest';
import { STAGE2_RECIPE, createTinyWorld, tinyPlugins } from '../tiny-world.test-helper.ts';
import type { Recipe, RecipeEvent } from '../train-recipe.ts';
import { trainRecipe } from '../train-recipe.ts';
import { recipeSchemas } from './schemas.ts';
import type { SelfCriticalHooks } from './scst.ts';
import { leaveOneOut } from './scst.ts';

it('measures each caption against the others of its image', () => {
  expect([...leaveOneOut([1, 2, 6, 5, 5, 5], 3)]).toEqual([-3, -1.5, 4.5, 0, 0, 0]);
});

it('sums to nothing for each image, and is the reward itself when there is one caption', () => {
  const advantages = leaveOneOut([0.3, 0.9, 0.1, 0.4], 4);
  expect(advantages.reduce((a, b) => a + b, 0)).toBeCloseTo(0, 6);
  expect([...leaveOneOut([0.5, 0.25], 1)]).toEqual([0.5, 0.25]);
});

it("is the mean of advantage times -log p of the captions drawn, as the decoding loop and the reward saw them", { timeout: 120_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'querent-scst-'));
  await using engine = createOnnxEngine({ threads: 1 });
  const logProbabilities: number[] = [];
  const rewards: number[] = [];
  const hooks: SelfCriticalHooks = {
    async openSampler(on, model, config, parameters) {
      const [prefill, decode] = [await on.compile(prefillGraph(model, config), parameters), await on.compile(decodeGraph(model, config), parameters)];
      return {
        async sample(softPrompt, promptIds, { seed, temperature, maxNewTokens }) {
          const options = { doSample: true, temperature, maxNewTokens, seed };
          const rows = await collect(generateOn(on, { prefill, decode }, { softPrompt, promptIds, tokens: model.specialTokens(config), options }));
          logProbabilities.push(...rows.map(([first]) => first!.score * first!.ids.length)); // the score is the mean over the tokens
          return rows.map(([first]) => first!.ids);
        },
        async [Symbol.asyncDispose]() {
          await prefill[Symbol.asyncDispose]();
          await decode[Symbol.asyncDispose]();
        },
      };
    },
    reward: () => (_, caption) => {
      rewards.push(caption.length / 10);
      return caption.length / 10;
    },
  };
  const { prompt: _prompt, labelSmoothing: _smoothing, dropout: _dropout, ...common } = STAGE2_RECIPE;
  const recipe = { ...common, kind: 'scst', samples: 3, temperature: 1, maxNewTokens: 6, epochs: 1, qformer_config: STAGE2_RECIPE.qformer_config };
  try {
    await createTinyWorld(folder);
    const options = { recipeFolder: folder, dataFolder: folder, out: join(folder, 'scst'), cacheFolder: join(folder, 'cache'), engine, plugins: tinyPlugins, selfCritical: hooks };
    const steps: RecipeEvent[] = [];
    for await (const event of trainRecipe(validate<Recipe>(recipeSchemas['scst']!, recipe), options)) if (event.type === 'step') steps.push(event);
    expect(steps).toHaveLength(2);
    steps.forEach((event, step) => {
      const rows = Array.from({ length: 12 }, (_, i) => step * 12 + i); // four images with three captions each
      const advantages = leaveOneOut(rows.map((row) => rewards[row]!), 3);
      const loss = -rows.reduce((sum, row, i) => sum + advantages[i]! * logProbabilities[row]!, 0) / 12;
      expect(event.type === 'step' && event.loss).toBeCloseTo(loss, 2);
      expect(event.type === 'step' && event.losses['mean_reward']).toBeCloseTo(rows.reduce((sum, row) => sum + rewards[row]!, 0) / 12, 4);
    });
    const { selfCritical: _, ...without } = options;
    await expect(trainRecipe(validate<Recipe>(recipeSchemas['scst']!, recipe), { ...without, out: join(folder, 'none') }).next()).rejects.toMatchObject({ code: 'QRT_USAGE' });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
