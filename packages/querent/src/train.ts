/**
 * Training from a recipe file: what `querent train` runs. The recipe is checked first, then `@querent/training` does the
 * work with this Querent's plugins and engine. Self-critical recipes are handed the decoding loop and CIDEr from here.
 */
import { dirname, resolve } from 'node:path';
import type { JsonSchema, TensorData } from '@querent/core';
import { QuerentError, readJson, validate } from '@querent/core';
import { createCiderScorer } from '@querent/evaluation';
import { isJsonObject } from '@querent/hub';
import { collect, decodeGraph, generateOn, prefillGraph } from '@querent/llm-adapters';
import type { Recipe, RecipeEvent, SelfCriticalHooks, TrainRecipeOptions } from '@querent/training';
import { recipeSchemas, trainRecipe } from '@querent/training';
import type { Querent } from './create-querent.ts';
import { withDocumentPlugins } from './plugins.ts';

export interface TrainCallOptions {
  /** Folder that the recipe's data paths are relative to. */
  readonly data: string;
  /** Where checkpoints, the report and the trained model (`model/`) go; started again with it, a run goes on. */
  readonly out: string;
  /** A trained folder to begin with, instead of the recipe's `init`. */
  readonly init?: string;
  /** Where features of frozen encoders are kept. Default: `cache` beside the recipe's folder. */
  readonly cache?: string;
  /** Values of recipe keys to replace, for instance `{ epochs: 1 }`. */
  readonly override?: Readonly<Record<string, unknown>>;
  readonly engine?: string;
  readonly signal?: AbortSignal;
}

/**
 * Runs a recipe and says how it goes.
 *
 * @throws QuerentError QRT_CONFIG_INVALID when the recipe does not fit its schema, QRT_DATASET, QRT_FILE, and the signal's own reason.
 */
export async function* train(querent: Querent, recipeFile: string, options: TrainCallOptions): AsyncGenerator<RecipeEvent, void> {
  const recipe = await readRecipe(recipeFile, options.override);
  const registry = await withDocumentPlugins(querent.registry, { plugins: 'plugins' in recipe ? recipe.plugins : undefined, file: recipeFile });
  yield* trainRecipe(recipe, {
    ...recipeFolders(recipeFile, options),
    out: resolve(options.out),
    engine: await querent.engine(options.engine),
    plugins: {
      encoder: (name) => registry.get('encoder', name),
      bridge: (name) => registry.get('bridge', name),
      languageModel: (name) => registry.get('language-model', name),
      dataset: (name) => registry.get('dataset', name),
      objective: (name) => registry.get('objective', name),
    },
    selfCritical,
    ...(options.init === undefined ? {} : { init: resolve(options.init) }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
}

/** The folders that a recipe's paths are relative to, and the cache: `cache` beside the recipe's folder unless another is named. */
export function recipeFolders(recipeFile: string, { data, cache }: Pick<TrainCallOptions, 'data' | 'cache'>): Pick<TrainRecipeOptions, 'recipeFolder' | 'dataFolder' | 'cacheFolder'> {
  const recipeFolder = dirname(resolve(recipeFile));
  return { recipeFolder, dataFolder: resolve(data), cacheFolder: resolve(cache ?? resolve(recipeFolder, '..', 'cache')) };
}

/** Reads a recipe and checks it against the schema of its kind. @throws QuerentError QRT_CONFIG_UNREADABLE, QRT_CONFIG_INVALID */
export async function readRecipe(file: string, override: Readonly<Record<string, unknown>> = {}): Promise<Recipe> {
  const given = await readJson(file);
  const document = isJsonObject(given) ? { ...given, ...override } : { kind: undefined };
  const kind = String(document['kind']);
  const schema: JsonSchema | undefined = recipeSchemas[kind];
  if (schema === undefined) {
    throw new QuerentError('QRT_CONFIG_INVALID', `${file}: /kind is ${JSON.stringify(kind)}; expected one of ${Object.keys(recipeSchemas).join(', ')}.`, {
      fix: 'The recipes folder has one example of each kind.',
    });
  }
  return validate<Recipe>(schema, document, { file, what: `the ${kind} recipe` });
}

/** Drawing by the frozen language model's own loop; judged by CIDEr against the image's references. */
const selfCritical: SelfCriticalHooks = {
  async openSampler(engine, model, config, parameters) {
    const [prefill, decode] = [await engine.compile(prefillGraph(model, config), parameters), await engine.compile(decodeGraph(model, config), parameters)];
    const tokens = model.specialTokens(config);
    return {
      async sample(softPrompt: TensorData, promptIds: TensorData, { seed, temperature, maxNewTokens }) {
        const rows = await collect(generateOn(engine, { prefill, decode }, { softPrompt, promptIds, tokens, options: { doSample: true, temperature, maxNewTokens, seed } }));
        return rows.map((sequences) => sequences[0]!.ids);
      },
      async [Symbol.asyncDispose]() {
        await prefill[Symbol.asyncDispose]();
        await decode[Symbol.asyncDispose]();
      },
    };
  },
  reward(references) {
    const scorer = createCiderScorer(references.map((captions) => captions.map((caption) => caption.split(' '))));
    return (image, caption) => scorer.score(image, caption.split(' '));
  },
};
