/** A model's graphs as text, from its documents and headers alone: no weights are read, no engine starts. */
import { QuerentError, nearest } from '@querent/core';
import { printGraph } from '@querent/graph';
import type { Querent } from './create-querent.ts';
import { modelGraphs } from './model-graphs.ts';
import { openParts } from './model-parts.ts';
import { openSource } from './model-source.ts';

/**
 * Prints one graph of a model folder.
 *
 * @param name one of {@link modelGraphNames}, for instance `encoder`
 * @throws QuerentError QRT_USAGE for an unknown name, QRT_MODEL_UNSUPPORTED for a graph that the model has no part for, and
 *   what reading its documents throws.
 */
export async function printModelGraph(querent: Querent, folder: string, name: string, options: { readonly maxNodes?: number } = {}): Promise<string> {
  const graphs = modelGraphs(await openParts(await openSource(folder, '.'), querent.registry));
  const build = new Map(Object.entries(graphs)).get(name);
  if (build === undefined) {
    const near = nearest(name, Object.keys(graphs));
    throw new QuerentError('QRT_USAGE', `A model has no graph ${JSON.stringify(name)}.`, {
      fix: near === undefined ? `There are: ${Object.keys(graphs).join(', ')}.` : `Did you mean ${near}?`,
    });
  }
  return printGraph(build(), options);
}
