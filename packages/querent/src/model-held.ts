/** A whole model's graphs over its weights as they are held: `precision.ts` applied to the parts of a vision-language model. */
import type { Graph, ParameterData } from '@querent/core';
import type { GraphName, ModelGraphs } from './model-graphs.ts';
import { LANGUAGE_SCOPE, VISION_SCOPE } from './model-graphs.ts';
import type { ModelParts } from './model-parts.ts';
import type { ModelSource } from './model-source.ts';
import type { Precision } from './precision.ts';
import { holdWeights } from './precision.ts';

export interface HeldModel {
  readonly graphs: ModelGraphs;
  readonly available: ReadonlyMap<string, ParameterData>;
}

/** @param main graphs that say what each weight is used for */
export async function heldModel(
  source: ModelSource,
  parts: ModelParts,
  graphs: ModelGraphs,
  available: ReadonlyMap<string, ParameterData>,
  main: readonly GraphName[],
  precision: Precision | undefined,
  signal: AbortSignal | undefined,
): Promise<HeldModel> {
  const { languageModel } = parts;
  const held = await holdWeights(main.map((name) => graphs[name]()), available, {
    ...(precision === undefined ? {} : { precision }),
    ...(languageModel === undefined ? {} : { vocabulary: languageModel.plugin.vocabulary(languageModel.config) }),
    partOf: (name) => (name.startsWith(`${LANGUAGE_SCOPE}.`) ? 'language' : name.startsWith(`${VISION_SCOPE}.`) ? 'vision' : 'trained'),
    beside: source.origins.text_config.folder,
    ...(signal === undefined ? {} : { signal }),
  });
  const rewritten = new Map<Graph, Graph>();
  const once = (name: GraphName) => (): Graph => {
    const graph = graphs[name]();
    const known = rewritten.get(graph) ?? held.rewrite(graph);
    rewritten.set(graph, known);
    return known;
  };
  return { graphs: Object.fromEntries(Object.keys(graphs).map((name) => [name, once(name as GraphName)])) as Record<GraphName, () => Graph>, available: held.available }; // the keys of graphs
}
