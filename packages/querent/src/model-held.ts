/** A whole model's graphs over its weights as they are held: `precision.ts` applied to the parts of a vision-language model. */
import type { Engine, Graph, ParameterData } from '@querent/core';
import type { CalibrationOptions, EncoderPrecision } from './encoder-precision.ts';
import { heldEncoder } from './encoder-precision.ts';
import type { GraphName, ModelGraphs } from './model-graphs.ts';
import { LANGUAGE_SCOPE, VISION_SCOPE } from './model-graphs.ts';
import type { ModelParts } from './model-parts.ts';
import type { ModelSource } from './model-source.ts';
import type { OnLoadProgress } from './load-progress.ts';
import type { Precision } from './precision.ts';
import { holdWeights, isQuantised } from './precision.ts';

export interface HeldModel {
  readonly graphs: ModelGraphs;
  readonly available: ReadonlyMap<string, ParameterData>;
  /** What was chosen for an encoder in 8 bits. */
  readonly encoderPrecision?: EncoderPrecision;
}

export interface HoldOptions {
  /** Absent: as the file has them. */
  readonly precision?: Precision;
  readonly calibration?: CalibrationOptions;
  /** Runs the calibration. */
  readonly engine: Engine;
  /** What is still being checked, see `derivedTensors` of the hub. */
  readonly checks?: Promise<boolean>[];
  readonly onProgress?: OnLoadProgress;
  readonly signal?: AbortSignal;
}

/** @param main graphs that say what each weight is used for */
export async function heldModel(
  source: ModelSource,
  parts: ModelParts,
  built: ModelGraphs,
  available: ReadonlyMap<string, ParameterData>,
  main: readonly GraphName[],
  { precision, calibration, engine, checks, signal, onProgress }: HoldOptions,
): Promise<HeldModel> {
  const { languageModel } = parts;
  const beside = source.origins.text_config.folder;
  const given = { ...(checks === undefined ? {} : { checks }), ...(onProgress === undefined ? {} : { onProgress }), ...(signal === undefined ? {} : { signal }) };
  const encoder = isQuantised(precision) && main.includes('encoder') ? await heldEncoder({ engine, parts, graph: built.encoder(), available, beside, ...calibration, ...given }) : undefined;
  const graphs: ModelGraphs = encoder === undefined ? built : { ...built, encoder: () => encoder.graph };
  const stored = new Set(encoder?.chosen.stored);
  const held = await holdWeights(main.map((name) => graphs[name]()), available, {
    ...(precision === undefined ? {} : { precision }),
    ...(languageModel === undefined ? {} : { vocabulary: languageModel.plugin.vocabulary(languageModel.config) }),
    // What the calibration left as the file has it keeps its values, as what trains does.
    partOf: (name) => (name.startsWith(`${LANGUAGE_SCOPE}.`) ? 'language' : name.startsWith(`${VISION_SCOPE}.`) && !stored.has(name) ? 'vision' : 'trained'),
    beside,
    ...given,
  });
  const rewritten = new Map<Graph, Graph>();
  const once = (name: GraphName) => (): Graph => {
    const graph = graphs[name]();
    const known = rewritten.get(graph) ?? held.rewrite(graph);
    rewritten.set(graph, known);
    return known;
  };
  return { graphs: Object.fromEntries(Object.keys(graphs).map((name) => [name, once(name as GraphName)])) as Record<GraphName, () => Graph>, available: encoder === undefined ? held.available : new Map([...held.available, ...encoder.pieces]), ...(encoder === undefined ? {} : { encoderPrecision: encoder.chosen }) }; // the keys of graphs
}
