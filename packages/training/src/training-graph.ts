/**
 * From a loss to a graph that can be trained: gradients of the trained parameters become outputs `grad/<name>` (large ones
 * `grad/<name>/0` …, see {@link gradientOutputs}), the loss
 * and its parts become outputs `loss`, `loss_itc`, … Frozen parameters stay constants of the compiled graph.
 */
import type { Graph, GraphScope, ParameterSet, Tensor, TensorData } from '@querent/core';
import { QuerentError, allocate, elementCount, float32 } from '@querent/core';
import type { Initialiser } from '@querent/core';
import { grad, split } from '@querent/graph';
import type { Random } from '@querent/images';

const GRADIENT_PREFIX = 'grad/';

/**
 * A gradient larger than this comes in pieces. onnxruntime-node answers with copies; of what is larger than 32 MiB glibc makes new pages for
 * each, which for a vocabulary took a fiftieth of a step.
 */
const PIECE_BYTES = 24 * 2 ** 20;

/** The rows of each piece of a gradient. */
function rowsOf(shape: readonly number[]): number[] {
  const rows = shape[0] ?? 1;
  const most = Math.max(1, Math.floor((PIECE_BYTES * rows) / (elementCount(shape) * Float32Array.BYTES_PER_ELEMENT)));
  return Array.from({ length: Math.max(1, Math.ceil(rows / most)) }, (_, i) => Math.min(most, rows - i * most));
}

const outputOf = (name: string, pieces: number, piece: number): string => GRADIENT_PREFIX + name + (pieces === 1 ? '' : `/${piece}`);

/** Where a step writes gradients, for `run`'s `into`: the outputs of {@link trainingGraph} over `memories`, an array for each parameter in their order. */
export function gradientOutputs(parameters: readonly { readonly name: string; readonly shape: readonly number[] }[], memories: readonly Float32Array[]): Record<string, TensorData<'float32'>> {
  return Object.fromEntries(
    parameters.flatMap(({ name, shape }, i) => {
      const rows = rowsOf(shape);
      const memory = memories[i]!;
      if (rows.length === 1) return [[outputOf(name, 1, 0), float32(shape, memory)] as const];
      const width = memory.length / shape[0]!;
      let from = 0;
      return rows.map((count, piece) => [outputOf(name, rows.length, piece), float32([count, ...shape.slice(1)], memory.subarray(from * width, (from += count) * width))] as const);
    }),
  );
}

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
  parameters.forEach(({ name, shape }, i) => {
    const rows = rowsOf(shape);
    const pieces = rows.length === 1 ? [gradients[i]!] : split(gradients[i]!, 0, rows);
    pieces.forEach((piece, k) => g.output(outputOf(name, rows.length, k), piece));
  });
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
