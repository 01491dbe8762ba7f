/**
 * From a loss to a graph that can be trained: gradients of the trained parameters become outputs `grad/<name>`, the loss
 * and its parts become outputs `loss`, `loss_itc`, … Frozen parameters stay constants of the compiled graph.
 */
import type { Graph, GraphScope, ParameterSet, Tensor, TensorData } from '@querent/core';
import { QuerentError, allocate, elementCount } from '@querent/core';
import type { Initialiser } from '@querent/core';
import { grad } from '@querent/graph';
import type { Random } from '@querent/images';

export const GRADIENT_PREFIX = 'grad/';

export interface TrainingGraph {
  readonly graph: Graph;
  /** Names of the trained parameters, in the order of their declaration. */
  readonly trained: readonly string[];
  /** Names of the scalar outputs: `loss` first. */
  readonly losses: readonly string[];
}

/**
 * Adds the gradients of `losses.loss` and names the outputs.
 *
 * @param isTrained which parameters learn; the others are frozen and get no gradient of their own.
 */
export function trainingGraph(g: GraphScope, losses: { readonly loss: Tensor } & Readonly<Record<string, Tensor>>, isTrained: (name: string) => boolean): TrainingGraph {
  const parameters = [...g.graph.parameters.values()].filter((parameter) => isTrained(parameter.name));
  if (parameters.length === 0) {
    throw new QuerentError('QRT_GRAPH_GRADIENT', `Graph ${g.graph.name} has no parameter that is to be trained.`, {
      fix: `It declares ${g.graph.parameters.size} parameters; the recipe freezes all of them.`,
    });
  }
  const gradients = grad(losses.loss, parameters.map((parameter) => parameter.tensor));
  for (const [name, loss] of Object.entries(losses)) g.output(name, loss);
  parameters.forEach((parameter, i) => g.output(GRADIENT_PREFIX + parameter.name, gradients[i]!));
  return { graph: g.graph, trained: parameters.map((parameter) => parameter.name), losses: Object.keys(losses) };
}

/** Draws the parameters that `given` lacks, as their declarations say. Deterministic in the declaration's order. */
export function initialise(graph: Graph, names: readonly string[], random: Random, given: ParameterSet = new Map()): Map<string, TensorData<'float32'>> {
  const drawn = new Map<string, TensorData<'float32'>>();
  for (const name of names) {
    const parameter = graph.parameters.get(name);
    if (parameter === undefined || given.has(name)) continue;
    const data = allocate('float32', elementCount(parameter.shape));
    fill(data, parameter.initialiser, random);
    drawn.set(name, { dtype: 'float32', shape: parameter.shape, data });
  }
  return drawn;
}

function fill(data: Float32Array, initialiser: Initialiser, random: Random): void {
  switch (initialiser.kind) {
    case 'zeros':
      return;
    case 'constant':
      data.fill(initialiser.value);
      return;
    case 'normal':
      for (let i = 0; i < data.length; i++) data[i] = random.normal() * initialiser.std;
      return;
    case 'uniform':
      for (let i = 0; i < data.length; i++) data[i] = (random.next() * 2 - 1) * initialiser.bound;
  }
}
