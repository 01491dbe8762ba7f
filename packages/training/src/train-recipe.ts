/**
 * One recipe, from its JSON to a trained folder: the entry that `querent train` and `querent.train()` call. It finds the
 * parts that a recipe names (tokenizer, encoder, language model, weights to begin with), prepares the run and drives the
 * loop. What each kind trains is in `recipes/`.
 */
import { createHash } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { BridgePlugin, DatasetPlugin, EncoderPlugin, Engine, Executable, LanguageModelPlugin, ObjectivePlugin } from '@querent/core';
import { QuerentError } from '@querent/core';
import { loadTokenizer, openModelFolder, writeFileAtomic } from '@querent/hub';
import { reportHtml } from './report.ts';
import { trainedWeights } from './recipes/bridge-parts.ts';
import { initFolder } from './recipes/common.ts';
import type { PreparedRun, RunNumbers } from './recipes/common.ts';
import type { LanguageModelRecipe } from './recipes/language-model.ts';
import { prepareLanguageModel } from './recipes/language-model.ts';
import type { DistilRecipe } from './recipes/distil.ts';
import { prepareDistil } from './recipes/distil.ts';
import { prepareMaskedLanguageModel } from './recipes/masked-language-model.ts';
import type { MaskedLanguageModelRecipe } from './recipes/masked-language-model.ts';
import type { FinetuneRecipe } from './recipes/finetune.ts';
import { prepareFinetune } from './recipes/finetune.ts';
import { prepareBridgeRecipe } from './recipes/bridge-recipe.ts';
import type { BridgeRecipe } from './recipes/bridge-recipe.ts';
import type { SelfCriticalHooks } from './recipes/scst.ts';
import { trainTokenizer } from './recipes/tokenizer.ts';
import type { TokenizerRecipe } from './recipes/tokenizer.ts';
import { prepareVqaRecipe } from './recipes/vqa.ts';
import type { VqaRecipe } from './recipes/vqa.ts';
import type { TrainEvent, TrainedModel } from './train.ts';
import { train } from './train.ts';

export type Recipe = TokenizerRecipe | LanguageModelRecipe | MaskedLanguageModelRecipe | DistilRecipe | BridgeRecipe | FinetuneRecipe | VqaRecipe;

/** How a recipe's parts are found: by `model_type`, as everywhere. */
export interface TrainingPlugins {
  encoder(name: string): EncoderPlugin;
  bridge(name: string): BridgePlugin;
  languageModel(name: string): LanguageModelPlugin;
  /** Needed by recipes that name a dataset or an objective of a plugin. */
  dataset?(name: string): DatasetPlugin;
  objective?(name: string): ObjectivePlugin;
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
  /** Something that whoever started the run should know. */
  | { readonly type: 'note'; readonly text: string }
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
  yield* drive(recipe, yield* prepare(recipe, options), options);
}

async function* prepare(recipe: Exclude<Recipe, TokenizerRecipe>, options: TrainRecipeOptions): AsyncGenerator<RecipeEvent, PreparedRun> {
  switch (recipe.kind) {
    case 'language-model':
      return languageModelRun(recipe, options);
    case 'masked-language-model':
      return prepareMaskedLanguageModel(recipe, options);
    case 'distil':
      return yield* prepareDistil(recipe, options);
    case 'vqa':
      return yield* prepareVqaRecipe(recipe, options);
    case 'finetune':
      return prepareFinetune(recipe, options);
    default:
      return yield* prepareBridgeRecipe(recipe, options);
  }
}

async function languageModelRun(recipe: LanguageModelRecipe, options: TrainRecipeOptions): Promise<PreparedRun> {
  const tokenizerFolder = resolve(options.recipeFolder, recipe.tokenizer);
  const init = initFolder(recipe, options);
  return prepareLanguageModel(recipe, {
    plugin: options.plugins.languageModel(recipe.text_config.model_type),
    tokenizer: await loadTokenizer(tokenizerFolder),
    tokenizerFile: tokenizerFolder.endsWith('.json') ? tokenizerFolder : join(tokenizerFolder, 'tokenizer.json'),
    dataFolder: options.dataFolder,
    ...(init === undefined ? {} : { initial: await trainedWeights(await openModelFolder(init), () => true) }),
  });
}

/** A recipe's fingerprint: a run resumes only with the recipe it was started with. What an editor needs does not count. */
function fingerprint(recipe: Recipe): string {
  const text = JSON.stringify(recipe, (key, value: unknown) => (key === '$schema' ? undefined : value));
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

async function* drive(recipe: RunNumbers & Recipe, run: PreparedRun, options: TrainRecipeOptions): AsyncGenerator<RecipeEvent, void> {
  try {
    if (run.steps < 1) {
      throw new QuerentError('QRT_CONFIG_INVALID', `The recipe's data makes no full batch of ${recipe.batch}.`, { fix: 'Lower /batch or raise /epochs.' });
    }
    await using executable = await options.engine.compile(run.graph.graph, run.frozen, { asInputs: run.graph.trained, purpose: 'training' });
    const { weights } = yield* reported(recipe, loop(recipe, run, executable, options), options.out);
    const folder = join(options.out, 'model');
    await run.save(weights, folder);
    await rm(join(options.out, 'checkpoints'), { recursive: true, force: true });
    yield { type: 'saved', path: folder };
  } finally {
    await run.close?.();
  }
}

function loop(recipe: RunNumbers & Recipe, run: PreparedRun, executable: Executable, options: TrainRecipeOptions): AsyncGenerator<TrainEvent, TrainedModel> {
  return train({
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
}

/** Hands the events on; at the end the report is written. */
async function* reported(recipe: Recipe, events: AsyncGenerator<TrainEvent, TrainedModel>, out: string): AsyncGenerator<TrainEvent, TrainedModel> {
  try {
    for (;;) {
      const state = await events.next();
      if (state.done === true) return state.value;
      if (state.value.type === 'end') await writeFileAtomic(join(out, 'report.html'), reportHtml(recipe, state.value.history));
      yield state.value;
    }
  } finally {
    await events.return(NOTHING_LEFT);
  }
}

/** What a loop that was left early is told to return; nobody reads it. */
const NOTHING_LEFT: TrainedModel = { weights: new Map() };
