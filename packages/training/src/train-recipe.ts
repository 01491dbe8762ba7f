/**
 * One recipe, from its JSON to a trained folder: the entry that `querent train` and `querent.train()` call. It finds the
 * parts that a recipe names (tokenizer, encoder, language model, weights to begin with), prepares the run and drives the
 * loop. What each kind trains is in `recipes/`.
 */
import { createHash } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { BridgePlugin, EncoderPlugin, Engine, LanguageModelPlugin } from '@querent/core';
import { QuerentError } from '@querent/core';
import { loadTokenizer, writeFileAtomic } from '@querent/hub';
import { reportHtml } from './report.ts';
import type { PreparedRun, RunNumbers } from './recipes/common.ts';
import type { LanguageModelRecipe } from './recipes/language-model.ts';
import { prepareLanguageModel } from './recipes/language-model.ts';
import { prepareBridgeRecipe } from './recipes/bridge-recipe.ts';
import type { BridgeRecipe } from './recipes/bridge-recipe.ts';
import type { SelfCriticalHooks } from './recipes/scst.ts';
import { trainTokenizer } from './recipes/tokenizer.ts';
import type { TokenizerRecipe } from './recipes/tokenizer.ts';
import type { TrainEvent } from './train.ts';
import { train } from './train.ts';

export type Recipe = TokenizerRecipe | LanguageModelRecipe | BridgeRecipe;

/** How a recipe's parts are found: by `model_type`, as everywhere. */
export interface TrainingPlugins {
  encoder(name: string): EncoderPlugin;
  bridge(name: string): BridgePlugin;
  languageModel(name: string): LanguageModelPlugin;
}

export interface TrainRecipeOptions {
  /** Folder that the recipe's own paths are relative to. */
  readonly recipeFolder: string;
  /** Folder that the data's paths are relative to. */
  readonly dataFolder: string;
  /** Where checkpoints, the report and the trained model go. */
  readonly out: string;
  /** Where features of frozen encoders are kept between runs. */
  readonly cacheFolder: string;
  /** A folder whose weights the bridge begins with, instead of the recipe's `init`. */
  readonly init?: string;
  readonly engine: Engine;
  readonly plugins: TrainingPlugins;
  /** Needed by `scst` recipes: how captions are drawn and judged. */
  readonly selfCritical?: SelfCriticalHooks;
  readonly signal?: AbortSignal;
}

export type RecipeEvent =
  | TrainEvent
  | { readonly type: 'prepare'; readonly what: string; readonly done: number; readonly total: number }
  | { readonly type: 'saved'; readonly path: string };

/**
 * Runs a recipe that fits its schema. Started again with the same `out`, it goes on where it was.
 * @throws QuerentError QRT_DATASET, QRT_CONFIG_INVALID, QRT_FILE
 */
export async function* trainRecipe(recipe: Recipe, options: TrainRecipeOptions): AsyncGenerator<RecipeEvent, void> {
  await mkdir(options.out, { recursive: true });
  if (recipe.kind === 'tokenizer') {
    for (const path of await trainTokenizer(recipe, options.dataFolder, options.out)) yield { type: 'saved', path };
    return;
  }
  const run = recipe.kind === 'language-model' ? await languageModelRun(recipe, options) : yield* prepareBridgeRecipe(recipe, options);
  yield* drive(recipe, run, options);
}

async function languageModelRun(recipe: LanguageModelRecipe, options: TrainRecipeOptions): Promise<PreparedRun> {
  const tokenizerFolder = resolve(options.recipeFolder, recipe.tokenizer);
  return prepareLanguageModel(recipe, {
    plugin: options.plugins.languageModel(recipe.text_config.model_type),
    tokenizer: await loadTokenizer(tokenizerFolder),
    tokenizerFile: tokenizerFolder.endsWith('.json') ? tokenizerFolder : join(tokenizerFolder, 'tokenizer.json'),
    dataFolder: options.dataFolder,
  });
}

/** A recipe's fingerprint: a run resumes only with the recipe it was started with. */
function fingerprint(recipe: Recipe): string {
  return createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 16);
}

async function* drive(recipe: RunNumbers & Recipe, run: PreparedRun, options: TrainRecipeOptions): AsyncGenerator<RecipeEvent, void> {
  if (run.steps < 1) {
    throw new QuerentError('QRT_CONFIG_INVALID', `The recipe's data makes no full batch of ${recipe.batch}.`, { fix: 'Lower /batch or raise /epochs.' });
  }
  await using executable = await options.engine.compile(run.graph.graph, run.frozen, { asInputs: run.graph.trained, purpose: 'training' });
  const events = train({
    graph: run.graph,
    executable,
    parameters: run.start,
    batchAt: run.batchAt,
    steps: run.steps,
    schedule: recipe.schedule,
    optimiser: recipe.optimiser,
    ...(recipe.accumulate === undefined ? {} : { accumulate: recipe.accumulate }),
    ...(recipe.maxGradNorm === undefined ? {} : { maxGradNorm: recipe.maxGradNorm }),
    ...(recipe.averageDecay === undefined ? {} : { averageDecay: recipe.averageDecay }),
    ...(run.dependsOnWeights === undefined ? {} : { batchesDependOnWeights: run.dependsOnWeights }),
    ...(run.learningRateScale === undefined ? {} : { learningRateScale: run.learningRateScale }),
    checkpoints: { folder: join(options.out, 'checkpoints'), everySeconds: recipe.checkpointSeconds ?? 120, recipe: fingerprint(recipe) },
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  let state = await events.next();
  while (!state.done) {
    const event = state.value;
    yield event;
    if (event.type === 'checkpoint' || event.type === 'end') {
      if (event.type === 'end') await writeFileAtomic(join(options.out, 'report.html'), reportHtml(recipe, event.history));
    }
    state = await events.next();
  }
  const folder = join(options.out, 'model');
  await run.save(state.value.weights, folder);
  await rm(join(options.out, 'checkpoints'), { recursive: true, force: true });
  yield { type: 'saved', path: folder };
}
