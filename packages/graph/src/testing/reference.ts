/**
 * The reference: every operator that graphs use, in plain float64 loops. It is slow and simple on purpose: tests take finite
 * differences with it and ask it for a third opinion on engines. The operators are in `reference/`, one file for each family.
 */
import type { Graph, ParameterSet, Tensor, TensorData } from '@querent/core';
import { QuerentError, elementCount } from '@querent/core';
import { ELEMENTWISE } from './reference/elementwise.ts';
import { INDEXING } from './reference/indexing.ts';
import { LINEAR_ALGEBRA } from './reference/linear-algebra.ts';
import { NORMALISATION } from './reference/normalisation.ts';
import { REDUCTIONS } from './reference/reductions.ts';
import { RESIZE } from './reference/resize.ts';
import { SHAPING } from './reference/shaping.ts';
import { SPATIAL } from './reference/spatial.ts';
import type { Kernels, ReferenceTensor } from './reference/tensor.ts';
import { fromTensorData } from './reference/tensor.ts';

export type { ReferenceTensor } from './reference/tensor.ts';

/** ONNX `op_type` → its loops. Those of com.microsoft have names of their own. */
export const REFERENCE_KERNELS: Kernels = {
  ...ELEMENTWISE,
  ...INDEXING,
  ...LINEAR_ALGEBRA,
  ...NORMALISATION,
  ...REDUCTIONS,
  ...RESIZE,
  ...SHAPING,
  ...SPATIAL,
};

export interface InterpretOptions {
  /** Public names of the outputs wanted; all when absent. Only what they need is computed. */
  readonly outputs?: readonly string[];
}

/**
 * Computes a graph's outputs in float64. A feed may be float64 where the graph says float32: nothing is rounded on the way,
 * so that central differences are good to about ten digits. A feed under a parameter's name goes before `parameters`.
 *
 * @returns public output name → shape and row-major values; integers and bools as numbers.
 * @throws QuerentError QRT_ENGINE_FEED when an input is missing or has another shape than declared.
 * @throws QuerentError QRT_CHECKPOINT_MISMATCH when a needed parameter is missing.
 * @throws QuerentError QRT_ENGINE_COMPILE when the reference does not know an operator.
 * @throws QuerentError QRT_ENGINE_RUN when an operator's inputs do not fit.
 *
 * @example
 * const { data } = interpret(g.graph, { x: float32([2], [1, 2]) }, new Map()).get('y')!;
 */
export function interpret(
  graph: Graph,
  feeds: Readonly<Record<string, TensorData>>,
  parameters: ParameterSet = new Map(),
  options: InterpretOptions = {},
): Map<string, ReferenceTensor> {
  const wanted = (options.outputs ?? [...graph.outputs.keys()]).map((name) => {
    const tensor = graph.outputs.get(name);
    if (tensor === undefined) throw new QuerentError('QRT_USAGE', `Graph ${graph.name} has no output ${name}; it has ${[...graph.outputs.keys()].join(', ')}.`);
    return [name, tensor] as const;
  });
  const needed = new Set<string>();
  const stack: Tensor[] = wanted.map(([, tensor]) => tensor);
  for (let tensor = stack.pop(); tensor !== undefined; tensor = stack.pop()) {
    if (needed.has(tensor.name)) continue;
    needed.add(tensor.name);
    for (const source of graph.producer(tensor)?.inputs ?? []) if (source !== null) stack.push(source);
  }

  const values = new Map<string, ReferenceTensor>();
  for (const input of graph.inputs) if (needed.has(input.name)) values.set(input.name, feed(graph, input, feeds[input.name]));
  for (const { name, tensor } of graph.parameters.values()) {
    if (!needed.has(tensor.name)) continue;
    const data = feeds[name] ?? parameters.get(name);
    if (data === undefined) throw new QuerentError('QRT_CHECKPOINT_MISMATCH', `Graph ${graph.name} needs parameter ${name}, which was not given.`);
    values.set(tensor.name, { ...fromTensorData(name, data), dtype: tensor.dtype });
  }
  for (const [name, data] of graph.constants) if (needed.has(name)) values.set(name, fromTensorData(name, data));

  for (const node of graph.nodes) {
    if (!node.outputs.some((output) => needed.has(output.name))) continue;
    const kernel = REFERENCE_KERNELS[node.opType];
    if (kernel === undefined) throw new QuerentError('QRT_ENGINE_COMPILE', `The reference does not know ${node.opType} (node ${node.name}).`);
    const results = kernel({ node, inputs: node.inputs.map((input) => (input === null ? undefined : values.get(input.name))) });
    node.outputs.forEach((output, i) => {
      const result = results[i];
      if (result !== undefined) values.set(output.name, result);
      else if (needed.has(output.name)) throw new QuerentError('QRT_ENGINE_COMPILE', `The reference's ${node.opType} has no output ${i} (node ${node.name}).`);
    });
  }
  return new Map(wanted.map(([name, tensor]) => [name, values.get(tensor.name)!])); // every needed tensor was computed above
}

function feed(graph: Graph, input: Tensor, data: TensorData | undefined): ReferenceTensor {
  const declared = `${input.name} ${input.dtype} [${input.shape.join(', ')}]`;
  if (data === undefined) throw new QuerentError('QRT_ENGINE_FEED', `Graph ${graph.name} needs input ${declared}, which was not given.`);
  const fits = data.shape.length === input.shape.length && input.shape.every((dim, axis) => typeof dim === 'string' || dim === data.shape[axis]);
  if (!fits || data.data.length !== elementCount(data.shape)) {
    throw new QuerentError('QRT_ENGINE_FEED', `Graph ${graph.name} needs input ${declared}; it was given [${data.shape.join(', ')}] with ${data.data.length} elements.`);
  }
  return { ...fromTensorData(input.name, data), dtype: input.dtype };
}
