/** Whole recipes on real files with the real engine; some in a process of their own that is killed. */
import { execFile, spawn } from 'node:child_process';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { validate } from '@querent/core';
import { loadTokenizer, openModelFolder } from '@querent/hub';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { recipeSchemas } from './recipes/schemas.ts';
import { LANGUAGE_MODEL_RECIPE, RUN_NUMBERS, STAGE1_RECIPE, STAGE2_RECIPE, openTinyWorld, tinyPlugins } from './tiny-world.test-helper.ts';
import type { Recipe, RecipeEvent, TrainRecipeOptions } from './train-recipe.ts';
import { trainRecipe } from './train-recipe.ts';
import { trainingFlow } from './training-flow.ts';

const { folder, engine, close } = await openTinyWorld();
afterAll(close);

function recipe(given: object): Recipe {
  return validate<Recipe>(recipeSchemas[(given as Recipe).kind]!, given);
}

function options(out: string, change: Partial<TrainRecipeOptions> = {}): TrainRecipeOptions {
  return { recipeFolder: folder, dataFolder: folder, out: join(folder, out), cacheFolder: join(folder, 'cache'), engine, plugins: tinyPlugins, ...change };
}

async function run(given: object, out: string, change: Partial<TrainRecipeOptions> = {}): Promise<RecipeEvent[]> {
  const events: RecipeEvent[] = [];
  for await (const event of trainRecipe(recipe(given), options(out, change))) events.push(event);
  return events;
}

function stepLosses(events: readonly RecipeEvent[]): Readonly<Record<string, number>>[] {
  return events.flatMap((event) => (event.type === 'step' ? [event.losses] : []));
}

describe('a tokenizer recipe', () => {
  it('writes one vocabulary with each template', async () => {
    const events = await run(
      {
        kind: 'tokenizer', vocabSize: 300, specialTokens: ['<pad>', '<s>', '</s>'], text: { files: [], annotations: { file: 'annotations.json', splits: ['train'] } },
        templates: { causal: '<s> $A', seq2seq: '$A </s>' },
      },
      'tokenizer',
    );
    expect(events.map((event) => event.type)).toEqual(['saved', 'saved']);
    const [causal, seq2seq] = [await loadTokenizer(join(folder, 'tokenizer', 'causal')), await loadTokenizer(join(folder, 'tokenizer', 'seq2seq'))];
    expect(causal.encode('a red box', { addSpecialTokens: true })).toEqual([1, ...seq2seq.encode('a red box', { addSpecialTokens: true }).slice(0, -1)]);
  });
});

describe('a language-model recipe', () => {
  it('starts at ln V, learns, and saves a folder that opens', async () => {
    const losses = stepLosses(await run({ ...LANGUAGE_MODEL_RECIPE, epochs: 15 }, 'lm')).map((step) => step['loss']!);
    expect(losses[0]).toBeCloseTo(Math.log(290), 0.5);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! - 0.5);
    const saved = await openModelFolder(join(folder, 'lm', 'model'));
    expect(saved.config['model_type']).toBe('llama');
    expect(saved.parameters.get('model.embed_tokens.weight')?.dtype).toBe('float16');
    expect(await readFile(join(folder, 'lm', 'report.html'), 'utf8')).toContain('Training report');
    expect(await readdir(join(folder, 'lm'))).toEqual(expect.not.arrayContaining(['checkpoints']));
  });
});

describe('bridge recipes', () => {
  it('train stage 1, then stage 2 from it, over features that are computed once', async () => {
    const first = await run({ ...STAGE1_RECIPE, dropout: 0 }, 'stage1');
    expect(first[0]).toMatchObject({ type: 'prepare', what: 'features', done: 8, total: 8 });
    const losses = stepLosses(first);
    expect(losses[0]!['loss_itc']).toBeCloseTo(Math.log(RUN_NUMBERS.batch), 0);
    expect(losses[0]!['loss_itg']).toBeCloseTo(Math.log(290), 0.5);
    expect(losses[0]!['loss_itm']).toBeGreaterThan(0.3);
    expect(losses.at(-1)!['loss']!).toBeLessThan(losses[0]!['loss']!);

    const retrieval = await openModelFolder(join(folder, 'stage1', 'model'));
    expect(retrieval.config).toMatchObject({ model_type: 'blip-2', num_query_tokens: 3, vision_config: { model_type: 'vit' } });
    expect(retrieval.parameters.has('vision_model.embeddings.cls_token')).toBe(true);
    expect(retrieval.parameters.has('ln_vision.weight')).toBe(true);

    const second = await run(STAGE2_RECIPE, 'stage2', { init: join(folder, 'stage1', 'model') });
    expect(second.some((event) => event.type === 'prepare')).toBe(false);
    const caption = stepLosses(second).map((step) => step['loss']!);
    expect(caption.at(-1)!).toBeLessThan(caption[0]!);
    const model = await openModelFolder(join(folder, 'stage2', 'model'));
    expect(model.config['text_config']).toMatchObject({ model_type: 'llama' });
    expect(model.parameters.get('language_projection.weight')?.shape).toEqual([16, 16]);
    expect(model.parameters.has('language_model.model.norm.weight')).toBe(true);
    expect(model.parts.size).toBe(2);
  });

  it('refuse weights of another shape, all at once', async () => {
    const narrow = { ...STAGE1_RECIPE, qformer_config: { ...STAGE1_RECIPE.qformer_config, hidden_size: 8 }, num_query_tokens: 2, epochs: 1 };
    await run(narrow, 'narrow');
    const config = JSON.parse(await readFile(join(folder, 'narrow', 'model', 'config.json'), 'utf8')) as { num_query_tokens: number }; // just written
    await writeFile(join(folder, 'narrow', 'model', 'config.json'), JSON.stringify({ ...config, num_query_tokens: 5 }));
    await expect(run(STAGE1_RECIPE, 'refused', { init: join(folder, 'narrow', 'model') })).rejects.toMatchObject({ code: 'QRT_CHECKPOINT_MISMATCH', message: expect.stringContaining('query_tokens') as string });
  });

  it('refuse to run when there is no full batch, or no bridge', async () => {
    await expect(run({ ...STAGE1_RECIPE, batch: 9 }, 'empty')).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID' });
    const { qformer_config: _, ...none } = STAGE1_RECIPE;
    await expect(run(none, 'no-bridge')).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID' });
  });

  it('refuse a picture that is none, by its name', async () => {
    const damaged = join(folder, 'pictures', 'damaged.png');
    await writeFile(damaged, 'no picture');
    await writeFile(join(folder, 'damaged.json'), JSON.stringify({ images: [{ filename: 'damaged.png', split: 'train', sentences: [{ raw: 'a b c d' }] }] }));
    const given = { ...STAGE1_RECIPE, annotations: { file: 'damaged.json', splits: ['train'] }, batch: 1 };
    await expect(run(given, 'damaged')).rejects.toMatchObject({ code: 'QRT_IMAGE' });
  });
});

it('is a cold flow: nothing happens before it is subscribed, and unsubscribing keeps what is done', async () => {
  const flow = trainingFlow(recipe(LANGUAGE_MODEL_RECIPE), options('flow'));
  expect(await readdir(folder)).not.toContain('flow');
  await new Promise<void>((resolve, reject) => {
    const subscription = flow.subscribe({
      next: (event) => {
        if (event.type !== 'step' || event.step !== 3) return;
        subscription.unsubscribe();
        resolve();
      },
      error: reject,
    });
  });
  // The step in hand is finished and saved after the unsubscribe.
  await expect.poll(async () => (await readdir(join(folder, 'flow', 'checkpoints')).catch(() => [])).join(), { timeout: 20_000 }).toMatch(/^checkpoint-[34]$/);
  for await (const event of flow) {
    expect(event).toMatchObject({ type: 'start' });
    expect(event.type === 'start' && event.step).toBeGreaterThanOrEqual(3);
    break;
  }
});

describe('a run that is killed', () => {
  const script = fileURLToPath(new URL('../test/run-recipe.mjs', import.meta.url));

  beforeAll(async () => {
    // Plain Node runs the built packages.
    const packages = ['training', 'encoders', 'qformer', 'llm-adapters', 'engine-onnx'].map((name) => fileURLToPath(new URL(`../../${name}`, import.meta.url)));
    await promisify(execFile)(process.execPath, [fileURLToPath(new URL('../../../node_modules/typescript/bin/tsc', import.meta.url)), '-b', ...packages]);
  });

  /** Runs the recipe until the process ends, or is killed right after the line. True when it ended by itself. */
  function child(given: object, out: string, killAfter?: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const process_ = spawn(process.execPath, [script, JSON.stringify({ recipe: given, folder, out: join(folder, out) })], { stdio: ['ignore', 'pipe', 'pipe'] });
      let said = '';
      let complaint = '';
      process_.stdout.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        if (killAfter !== undefined && said.includes(`${killAfter}\n`)) process_.kill('SIGKILL');
      });
      process_.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
      process_.on('error', reject);
      process_.on('close', (code, signal) => {
        if (code === 0 || signal === 'SIGKILL') resolve(code === 0);
        else reject(new Error(`exit code ${code}: ${complaint}`));
      });
    });
  }

  const weights = (out: string): Promise<Buffer> => readFile(join(folder, out, 'model', 'model.safetensors'));

  // Checkpoints after every step: the kill then falls before, into or after the writing of one.
  for (const [name, given, kills] of [
    ['language-model', { ...LANGUAGE_MODEL_RECIPE, epochs: 3, checkpointSeconds: 1e-9 }, ['step 4', 'checkpoint 7']],
    ['stage1', { ...STAGE1_RECIPE, accumulate: 2, epochs: 8, checkpointSeconds: 1e-9 }, ['prepare ', 'step 2', 'step 6']],
  ] as const) {
    it(`goes on to bit-equal weights: ${name}`, { timeout: 240_000 }, async () => {
      expect(await child(given, `${name}-whole`)).toBe(true);
      for (const kill of kills) expect([kill, await child(given, `${name}-killed`, kill)]).toEqual([kill, false]);
      expect(await child(given, `${name}-killed`)).toBe(true);
      expect((await weights(`${name}-killed`)).equals(await weights(`${name}-whole`))).toBe(true);
    });
  }
});
