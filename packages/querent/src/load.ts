/**
 * Load: from a folder or a recipe to a model that answers. The order is the order of what can go wrong: documents, plugins, configs,
 * names and shapes of tensors, and only then memory.
 */
import type { Engine, ModelCapability, PluginRegistry } from '@querent/core';
import type { DownloadEvent, Tokenizer } from '@querent/hub';
import { loadTokenizer } from '@querent/hub';
import { Executables } from './executables.ts';
import type { OnLoadProgress } from './load-progress.ts';
import { modelGraphs } from './model-graphs.ts';
import { openParts, readsInstruction } from './model-parts.ts';
import type { RecipeObject } from './model-source.ts';
import { openSource } from './model-source.ts';
import { matchWeights } from './model-weights.ts';
import { heldModel } from './model-held.ts';
import { askIntegerRange } from './encoder-precision.ts';
import type { CalibrationOptions } from './encoder-precision.ts';
import { isQuantised } from './precision.ts';
import type { Precision } from './precision.ts';
import { VisionLanguageModel } from './vision-language-model.ts';

export interface LoadContext {
  readonly registry: PluginRegistry;
  /** Stays the caller's. */
  readonly engine: Engine;
  /** What paths of a recipe object are relative to. */
  readonly baseDir: string;
  /** How frozen weights are held. Default: as the file has them. */
  readonly precision?: Precision;
  /** What the precision of an encoder in 8 bits is chosen by. */
  readonly calibration?: CalibrationOptions;
  readonly signal?: AbortSignal;
  readonly onDownload?: (event: DownloadEvent) => void;
  readonly onProgress?: OnLoadProgress;
  /** Called when the model is disposed. */
  readonly onDispose?: (model: VisionLanguageModel) => void;
}

/**
 * Loads a model and compiles what it is for; the rest is compiled when it is first used.
 *
 * @throws QuerentError QRT_FILE, QRT_CONFIG_UNREADABLE, QRT_CONFIG_INVALID, QRT_MODEL_UNSUPPORTED, QRT_CHECKPOINT_FORMAT,
 *   QRT_CHECKPOINT_MISMATCH, QRT_TOKENIZER, or what the engine throws. Nothing is held then.
 */
export async function loadModel(from: string | RecipeObject, context: LoadContext): Promise<VisionLanguageModel> {
  // Caches of quantised weights are compared with their checksums while sessions are made of them. A damaged one is gone then.
  return (await loadOnce(from, context, [])) ?? (await loadOnce(from, context, undefined))!; // what is checked first is whole
}

/** @returns undefined when a check failed; then nothing is held */
async function loadOnce(from: string | RecipeObject, context: LoadContext, checks: Promise<boolean>[] | undefined): Promise<VisionLanguageModel | undefined> {
  const { registry, engine, baseDir, precision, calibration, signal, onDownload, onProgress, onDispose = () => undefined } = context;
  signal?.throwIfAborted();
  const source = await openSource(from, baseDir, { ...(signal === undefined ? {} : { signal }), ...(onDownload === undefined ? {} : { onDownload }) });
  const parts = await openParts(source, registry);
  const built = modelGraphs(parts, (name) => source.parameters.has(name));
  if (isQuantised(precision)) askIntegerRange(engine, built.encoder(), source.parameters);
  const { available: stored, capabilities: askCapabilities, main, extra } = await matchWeights(source, parts, built, signal);
  const { graphs, available, encoderPrecision } = await heldModel(source, parts, built, stored, main, {
    engine,
    ...(checks === undefined ? {} : { checks }),
    ...(precision === undefined ? {} : { precision }),
    ...(calibration === undefined ? {} : { calibration }),
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(signal === undefined ? {} : { signal }),
  });
  const executables = new Executables(engine, graphs, available, source.name);
  let capabilities: ReadonlySet<ModelCapability>;
  const tokenizers = new Map<string, Promise<Tokenizer>>();
  try {
    const compiling = main.map((name) => executables.get(name));
    await Promise.race(compiling); // by then all are with the engine's thread, and this one has time
    capabilities = askCapabilities();
    const files = [
      ...(capabilities.has('generate') ? [source.languageTokenizer] : []),
      ...(capabilities.has('embed') || capabilities.has('match') || readsInstruction(parts) ? [source.bridgeTokenizer] : []),
    ];
    for (const file of files) if (file !== undefined) tokenizers.set(file, loadTokenizer(file));
    await Promise.all([...tokenizers.values(), ...compiling]);
    const isWhole = (await Promise.all(checks ?? [])).every((whole) => whole);
    signal?.throwIfAborted();
    if (!isWhole) {
      await executables[Symbol.asyncDispose]();
      return undefined;
    }
  } catch (error) {
    const checked = await Promise.allSettled(checks ?? []);
    await executables[Symbol.asyncDispose]();
    if (checked.some((check) => check.status === 'fulfilled' && !check.value)) return undefined; // that may be why
    throw error;
  }
  return new VisionLanguageModel({ source, parts, executables, capabilities, extra, tokenizers, onDispose, ...(encoderPrecision === undefined ? {} : { encoderPrecision }) });
}
