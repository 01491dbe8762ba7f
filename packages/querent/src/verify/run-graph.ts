/** Compiles a graph against a fixture's weights and runs it once, in this thread: fixtures are small. */
import { join } from 'node:path';
import type { Engine, Graph, ParameterSet, TensorData } from '@querent/core';
import { createRegistry } from '@querent/core';
import { matchParameters } from '@querent/hub';
import { builtInPlugins } from '../built-in-plugins.ts';
import { startEngine } from '../start-engine.ts';
import type { Fixture, Tensors } from './fixture.ts';
import { input } from './fixture.ts';

/** The fixture's weights that a graph asks for. @throws QuerentError QRT_CHECKPOINT_MISMATCH */
export function weightsFor(graph: Graph, fixture: Fixture, weights: ParameterSet = fixture.weights): ParameterSet {
  return matchParameters(graph.parameters, weights, { file: join(fixture.folder, 'model.safetensors') }).parameters;
}

/** The engine that the fixture is verified on; the caller disposes it. @throws QuerentError QRT_ENGINE_PROVIDER, QRT_PLUGIN_UNKNOWN */
export function verifyEngine({ engine, plugins }: Fixture): Promise<Engine> {
  return startEngine(createRegistry(builtInPlugins).child(plugins), engine, { inPlace: true, threads: 1 });
}

export async function runOnce(graph: Graph, fixture: Fixture, feeds: Readonly<Record<string, TensorData>>, weights?: ParameterSet): Promise<Tensors> {
  await using engine = await verifyEngine(fixture);
  await using executable = await engine.compile(graph, weightsFor(graph, fixture, weights));
  return new Map(Object.entries(await executable.run(feeds)));
}

/** Inputs of the fixture, by their own names. */
export function feedsOf(fixture: Fixture, names: readonly string[]): Record<string, TensorData> {
  return Object.fromEntries(names.map((name) => [name, input(fixture, name)]));
}
