/**
 * What a model is, before a byte of its weights is read: parts, families, parameters, what BLIP-2 trains of them, precision, memory, and
 * every tensor that is missing, misshaped or not asked for. The expected parameters are those that the plugins' graphs declare; what is
 * there is what the headers say. A folder that is one part alone is looked at in `inspect-part.ts`; sizes in memory in `inspect-memory.ts`.
 */
import { dirname, resolve } from 'node:path';
import type { FileTensor, Graph, GraphParameter, PluginRegistry } from '@querent/core';
import type { HubOptions, JsonObject, MisshapedTensor } from '@querent/hub';
import { compareParameters, isJsonObject, openModelFolder, readJsonObject } from '@querent/hub';
import { blipAsParts } from './blip-folder.ts';
import type { EncoderPrecision } from './encoder-precision.ts';
import { chosenPrecisions } from './encoder-precision.ts';
import type { MemoryUse } from './inspect-memory.ts';
import { cacheBytes, memoryOf } from './inspect-memory.ts';
import { alone, encoderGraph, inFiles } from './inspect-part.ts';
import type { GraphName } from './model-graphs.ts';
import { LANGUAGE_SCOPE, VISION_SCOPE, everyBridgeGraph, modelGraphs } from './model-graphs.ts';
import type { ModelParts } from './model-parts.ts';
import { isRetrieval, openParts, readsInstruction } from './model-parts.ts';
import type { ModelSource, RecipeObject } from './model-source.ts';
import { openSource } from './model-source.ts';

export { precisionReport } from './precision-report.ts';
export type { EncoderPrecision } from './encoder-precision.ts';
export type { PrecisionFigures } from './precision-report.ts';

/** One part of a model. */
export interface PartReport {
  readonly part: 'image encoder' | 'bridge' | 'projection' | 'language model' | 'dual encoder';
  /** The plugin's name: HuggingFace's `model_type`. */
  readonly family: string;
  /** Where its weights lie. */
  readonly folder: string;
  /** Numbers, tied ones counted once. */
  readonly parameters: number;
  /** Those of them that BLIP-2 trains: the bridge, the projection, and the norm behind the encoder (`ln_vision`). */
  readonly trainable: number;
  readonly tensors: number;
  /** Bytes in the files by dtype, of what the model asks for. */
  readonly stored: Readonly<Record<string, number>>;
}

export interface InspectReport {
  /** As it was asked for. */
  readonly model: string;
  readonly parts: readonly PartReport[];
  readonly parameters: number;
  readonly trainable: number;
  readonly frozen: number;
  /** Bytes of weights when loaded, by precision, and of what a text in the making needs. */
  readonly memory: MemoryUse;
  /** What calibrations chose for the encoder in `int8` and `int4`, on this processor: one for each set of pictures and bar; none before the first load. */
  readonly encoderPrecisions: readonly EncoderPrecision[];
  /** Are there any weights? A recipe on its own has none. */
  readonly hasWeights: boolean;
  readonly missing: readonly string[];
  readonly misshaped: readonly MisshapedTensor[];
  readonly unexpected: readonly string[];
  /** Buffers and duplicates of tied weights: in the files, and not needed. */
  readonly redundant: readonly string[];
}

/** A part and what it declares, before it is compared. Names are the checkpoint's. */
export interface DeclaredPart {
  readonly part: PartReport['part'];
  readonly family: string;
  readonly folder: string;
  readonly declared: ReadonlyMap<string, GraphParameter>;
  readonly isTrainable: (name: string) => boolean;
}

/** Everything that a report is made of. */
export interface Declared {
  readonly parts: readonly DeclaredPart[];
  readonly available: ReadonlyMap<string, FileTensor>;
  /** Names that the families know and this model has no use for: a pooler, the heads of stage 1. */
  readonly known: () => ReadonlySet<string>;
  readonly graphs: readonly Graph[];
  /** Bytes of keys and values for one token of one hypothesis, as float32. */
  readonly cacheBytesPerToken: number;
  readonly encoderPrecisions?: readonly EncoderPrecision[];
}

export interface InspectOptions extends Pick<HubOptions, 'signal' | 'onDownload'> {
  readonly registry: PluginRegistry;
}

/**
 * Looks at a model.
 *
 * @param model a folder, a name on the hub, or a `.json` document of the same form as `config.json`, which needs no weights
 * @throws QuerentError QRT_FILE, QRT_CONFIG_UNREADABLE, QRT_CONFIG_INVALID, QRT_MODEL_UNSUPPORTED, QRT_CHECKPOINT_FORMAT. Tensors
 *   that do not fit are no error here: they are in the report.
 *
 * @example
 * const { parts, missing } = await inspectModel('models/querent-mini', { registry: querent.registry });
 */
export async function inspectModel(model: string, { registry, ...hub }: InspectOptions): Promise<InspectReport> {
  return reportOf(model, await declare(model, registry, hub));
}

async function declare(model: string, registry: PluginRegistry, hub: HubOptions): Promise<Declared> {
  if (model.endsWith('.json')) {
    const document = await readJsonObject(model);
    const path = resolve(dirname(model));
    const config = document['model_type'] === 'blip' ? blipAsParts({ path, config: document, parameters: new Map(), parts: new Map() }).config : document;
    if (!isWhole(config)) return alone({ path, config, parameters: new Map(), parts: new Map() }, registry);
    const source = await openSource(config as RecipeObject, path, hub); // its schema is checked there
    return whole({ ...source, name: model }, registry);
  }
  const folder = await openModelFolder(model, hub);
  return isWhole(blipAsParts(folder).config) ? whole(await openSource(model, '.', hub), registry) : alone(folder, registry);
}

function isWhole(config: JsonObject): boolean {
  return isJsonObject(config['vision_config']) && isJsonObject(config['qformer_config']);
}

/** An encoder, a bridge and perhaps a language model. */
async function whole(source: ModelSource, registry: PluginRegistry): Promise<Declared> {
  const parts = await openParts(source, registry);
  const graphs = modelGraphs(parts);
  const names: readonly GraphName[] = [
    'encoder',
    ...(isRetrieval(source) ? (['image_features', 'text_features', 'match'] as const) : [readsInstruction(parts) ? ('bridge_with_text' as const) : ('bridge' as const)]),
    ...(parts.languageModel === undefined ? [] : (['prefill'] as const)),
    ...(parts.languageModel?.plugin.architecture === 'encoder-decoder' ? (['decode'] as const) : []), // a decoder alone has the prefill's parameters
  ];
  const built = names.map((name) => graphs[name]());
  const declared = new Map<string, GraphParameter>();
  for (const graph of built) for (const [name, parameter] of graph.parameters) declared.set(name, parameter);
  // What only a stage-1 checkpoint of ours holds (`temp`, ITG's `cls.predictions`) is a part of the model where it is there.
  if (isRetrieval(source)) for (const [name, parameter] of everyBridgeGraph(parts).parameters) if (source.parameters.has(name)) declared.set(name, parameter);

  const { encoder, bridge, languageModel } = parts;
  const of = (belongs: (name: string) => boolean): ReadonlyMap<string, GraphParameter> => new Map([...declared].filter(([name]) => belongs(name)));
  const isVision = (name: string): boolean => name.startsWith(`${VISION_SCOPE}.`);
  const isLanguage = (name: string): boolean => name.startsWith(`${LANGUAGE_SCOPE}.`);
  const isProjection = (name: string): boolean => name.startsWith('language_projection.');
  const always = (): boolean => true;
  const never = (): boolean => false;
  const { vision_config: vision, qformer_config: qformer, text_config: text } = source.origins;
  const listed: DeclaredPart[] = [
    // BLIP-2's `ln_vision` stands outside the frozen tower and learns in both stages; HuggingFace's class keeps it as the tower's last norm.
    { part: 'image encoder', family: encoder.plugin.name, folder: vision.folder, declared: of(isVision), isTrainable: encoder.plugin.name === 'blip_2_vision_model' ? (name) => name.startsWith(`${VISION_SCOPE}.post_layernorm.`) : never },
    { part: 'bridge', family: bridge.plugin.name, folder: qformer.folder, declared: of((name) => !isVision(name) && !isLanguage(name) && !isProjection(name)), isTrainable: always },
  ];
  if (languageModel !== undefined) {
    listed.push(
      { part: 'projection', family: 'linear', folder: qformer.folder, declared: of(isProjection), isTrainable: always },
      { part: 'language model', family: languageModel.plugin.name, folder: text.folder, declared: of(isLanguage), isTrainable: never },
    );
  }
  const known = (): ReadonlySet<string> => new Set([...everyBridgeGraph(parts).parameters.keys(), ...encoderGraph(encoder, parts.processor, VISION_SCOPE, true).parameters.keys()]);
  const cacheBytesPerToken = languageModel === undefined ? 0 : cacheBytes(languageModel.plugin.caches(languageModel.config));
  const encoderPrecisions = await chosenPrecisions(parts, graphs.encoder(), new Map([...source.parameters, ...(parts.encoderParameters ?? [])]), text.folder);
  return { parts: listed.filter(({ declared: names }) => names.size > 0), available: everyTensor(source, parts), known, graphs: built, cacheBytesPerToken, encoderPrecisions };
}

/** The checkpoint's tensors, and those of an encoder's own files. */
function everyTensor(source: ModelSource, { encoderParameters = new Map() }: ModelParts): ReadonlyMap<string, FileTensor> {
  return new Map([...source.parameters, ...inFiles(encoderParameters, source.origins.vision_config.folder)]);
}

function reportOf(model: string, { parts, available, known, graphs, cacheBytesPerToken, encoderPrecisions = [] }: Declared): InspectReport {
  const everything = new Map(parts.flatMap(({ declared }) => [...declared]));
  const { missing, misshaped, extra, redundant, parameters } = compareParameters(everything, available);
  const reports = parts.map(({ part, family, folder, declared, isTrainable }): PartReport => {
    let [count, trainable] = [0, 0];
    const stored: Record<string, number> = {};
    for (const [name, { shape }] of declared) {
      const size = elements(shape);
      count += size;
      if (isTrainable(name)) trainable += size;
      const found = available.get(name);
      if (found !== undefined && parameters.has(name)) stored[found.dtype] = (stored[found.dtype] ?? 0) + found.byteLength;
    }
    return { part, family, folder, parameters: count, trainable, tensors: declared.size, stored };
  });
  const total = reports.reduce((sum, part) => sum + part.parameters, 0);
  const trainable = reports.reduce((sum, part) => sum + part.trainable, 0);
  const frozen = new Set(parts.flatMap(({ declared, isTrainable }) => [...declared.keys()].filter((name) => !isTrainable(name))));
  return {
    model,
    parts: reports,
    parameters: total,
    trainable,
    frozen: total - trainable,
    memory: memoryOf(graphs, everything, (name) => frozen.has(name), cacheBytesPerToken),
    encoderPrecisions,
    hasWeights: available.size > 0,
    missing: available.size > 0 ? missing : [],
    misshaped,
    unexpected: extra.length === 0 ? [] : without(extra, known()),
    redundant,
  };
}

function without(names: readonly string[], known: ReadonlySet<string>): string[] {
  return names.filter((name) => !known.has(name));
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}
