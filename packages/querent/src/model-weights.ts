/**
 * From the names that a model's graphs declare to the tensors of its checkpoint: everything that the model needs is checked before
 * memory is spent, part by part, and what it can do follows from what is there.
 */
import type { Graph, GraphParameter, ModelCapability, ParameterData } from '@querent/core';
import { QuerentError, isQuerentError } from '@querent/core';
import { createGraph } from '@querent/graph';
import { matchParameters } from '@querent/hub';
import { initialise, randomAt } from '@querent/training';
import type { GraphName, ModelGraphs } from './model-graphs.ts';
import { decodingGraphs } from './executables.ts';
import { LANGUAGE_SCOPE, VISION_SCOPE, everyBridgeParameter } from './model-graphs.ts';
import type { ModelParts } from './model-parts.ts';
import { isRetrieval, readsInstruction } from './model-parts.ts';
import type { ModelSource, PartKey } from './model-source.ts';

export interface ModelWeights {
  /** The checkpoint's tensors under its names, and those that were drawn. */
  readonly available: ReadonlyMap<string, ParameterData>;
  /** What the model can do. Asking builds graphs. */
  readonly capabilities: () => ReadonlySet<ModelCapability>;
  /** The graphs that the model is for: compiled when it is loaded. */
  readonly main: readonly GraphName[];
  /** Tensors of the checkpoint that nothing asks for; known redundant ones are not among them. */
  readonly extra: readonly string[];
}

const EMBED = ['image_features', 'text_features'] as const;

/**
 * @throws QuerentError QRT_CHECKPOINT_MISMATCH with all missing and misshaped tensors of all parts at once. What building a graph
 *   throws when the parts do not fit each other.
 */
export async function matchWeights(source: ModelSource, parts: ModelParts, graphs: ModelGraphs, signal?: AbortSignal): Promise<ModelWeights> {
  const stage1 = isRetrieval(source);
  const generates: readonly GraphName[] = parts.languageModel === undefined ? [] : decodingGraphs(parts.languageModel.plugin);
  const bridges: GraphName = readsInstruction(parts) ? 'bridge_with_text' : 'bridge';
  const retrieves: readonly GraphName[] = stage1 ? [...EMBED, 'match'] : [];
  const declared = new Map<string, GraphParameter>();
  for (const name of ['encoder', bridges, ...generates, ...retrieves] as const) {
    await breathe(signal);
    for (const [key, parameter] of graphs[name]().parameters) declared.set(key, parameter);
  }
  const available = new Map<string, ParameterData>([...source.parameters, ...(parts.encoderParameters ?? [])]);
  if (source.mayDrawBridge) for (const [name, data] of drawBridge(parts, graphs[bridges](), available)) available.set(name, data);
  const extra = matchAll(source, declared, available);

  const isWhole = (name: GraphName): boolean => {
    const graph = ifSupported(graphs[name]);
    return graph !== undefined && [...graph.parameters.keys()].every((key) => available.has(key));
  };
  const capabilities = (): ReadonlySet<ModelCapability> => {
    const can = new Set<ModelCapability>(['encode', 'bridge']);
    if (parts.languageModel !== undefined) for (const one of ['generate', 'score'] as const) can.add(one);
    if (stage1 || EMBED.every(isWhole)) can.add('embed');
    if (stage1 || isWhole('match')) can.add('match');
    if (isWhole('attend')) can.add('attend');
    return can;
  };
  const main: readonly GraphName[] = generates.length > 0 ? ['encoder', bridges, ...generates] : ['encoder', ...retrieves];
  return { available, capabilities, main, extra: unknownOnes(extra, parts) };
}

/** Matches each part by itself, so that a message names the folder that the part's weights are in. */
function matchAll(source: ModelSource, declared: ReadonlyMap<string, GraphParameter>, available: ReadonlyMap<string, ParameterData>): string[] {
  const extra: string[] = [];
  const failures: QuerentError[] = [];
  for (const key of ['vision_config', 'qformer_config', 'text_config'] as const) {
    try {
      const belongs = ([name]: readonly [string, unknown]): boolean => partOf(name) === key;
      const matched = matchParameters(new Map([...declared].filter(belongs)), new Map([...available].filter(belongs)), { file: source.origins[key].folder });
      extra.push(...matched.extra);
    } catch (error) {
      if (!isQuerentError(error)) throw error;
      failures.push(error);
    }
  }
  const [first] = failures;
  if (first === undefined) return extra;
  if (failures.length === 1) throw first;
  throw new QuerentError('QRT_CHECKPOINT_MISMATCH', failures.map((failure) => failure.message).join(' '), {
    ...(first.fix === undefined ? {} : { fix: first.fix }),
    details: { parts: failures.map((failure) => failure.details) },
  });
}

function partOf(name: string): PartKey {
  if (name.startsWith(`${VISION_SCOPE}.`)) return 'vision_config';
  return name.startsWith(`${LANGUAGE_SCOPE}.`) ? 'text_config' : 'qformer_config';
}

/** A recipe without weights for its bridge is one to be trained: its parameters are drawn, always the same. */
function drawBridge({ bridge }: ModelParts, graph: Graph, available: ReadonlyMap<string, ParameterData>): ReadonlyMap<string, ParameterData> {
  const names = [...graph.parameters.keys()];
  if (names.some((name) => available.has(name))) return new Map();
  const drawn = initialise(graph, names, randomAt(0, 0, 2));
  for (const [name, { data }] of drawn) {
    const twin = bridge.plugin.initialisedAs?.(name);
    const source = twin === undefined ? undefined : drawn.get(twin);
    if (source !== undefined) data.set(source.data);
  }
  return drawn;
}

/** Without what the parts know and this model has no use for: a pooler, the heads of stage 1. */
function unknownOnes(extra: readonly string[], parts: ModelParts): string[] {
  if (extra.length === 0) return [];
  const known = new Set(everyBridgeParameter(parts));
  const g = createGraph('pooler');
  const { encoder, processor } = parts;
  const pixels = g.input('pixel_values', 'float32', ['batch', 3, processor.height, processor.width]);
  encoder.plugin.build(g.scope(VISION_SCOPE), pixels, encoder.config, { pooled: true });
  for (const name of g.graph.parameters.keys()) known.add(name);
  return extra.filter((name) => !known.has(name));
}

function ifSupported(build: () => Graph): Graph | undefined {
  try {
    return build();
  } catch (error) {
    if (isQuerentError(error) && error.code === 'QRT_MODEL_UNSUPPORTED') return undefined;
    throw error;
  }
}

/** Lets others run between two graphs. @throws the signal's reason. */
async function breathe(signal: AbortSignal | undefined): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  signal?.throwIfAborted();
}
