/**
 * What a graph comes to before it runs: the nodes that its outputs need, in order, with what can be let go after each. Operators that this
 * engine cannot run are named here, all of them at once, and never in the middle of a training run.
 */
import type { Graph, Node, Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import { REFERENCE_KERNELS } from '@querent/graph';
import { KERNELS } from './kernels/index.ts';
import type { KernelEntry } from './kernels/call.ts';

/** One node of a run. */
export interface Step {
  readonly node: Node;
  /** Undefined for `Shape` and `Size`. */
  readonly kernel: KernelEntry | undefined;
  /** May be computed by JavaScript when all its inputs are small numbers that JavaScript has. */
  readonly isHostable: boolean;
  /** Names of tensors that nothing after this step reads. */
  readonly last: readonly string[];
}

/** Shape arithmetic: what graphs do to sizes before they reach a Reshape. */
const HOSTABLE: ReadonlySet<string> = new Set([
  'Add', 'Sub', 'Mul', 'Div', 'Mod', 'Min', 'Max', 'Neg', 'Cast', 'Identity', 'Concat', 'Gather', 'Slice', 'Split', 'Squeeze', 'Unsqueeze', 'Reshape', 'ReduceProd',
]);

/** Dtypes that come out of a run; float16 and bfloat16 would have to be narrowed. */
const GIVEN_BACK: ReadonlySet<string> = new Set(['float32', 'float64', 'int64', 'int32', 'int8', 'uint8', 'bool']);

/** Names of all tensors that `outputs` depend on, themselves included. */
export function neededBy(graph: Graph, outputs: Iterable<Tensor>): Set<string> {
  const needed = new Set<string>();
  const stack = [...outputs];
  for (let tensor = stack.pop(); tensor !== undefined; tensor = stack.pop()) {
    if (needed.has(tensor.name)) continue;
    needed.add(tensor.name);
    for (const source of graph.producer(tensor)?.inputs ?? []) if (source !== null) stack.push(source);
  }
  return needed;
}

/** The steps that compute `outputs`. */
export function planSteps(graph: Graph, outputs: readonly Tensor[]): readonly Step[] {
  const needed = neededBy(graph, outputs);
  const kept = new Set(outputs.map(({ name }) => name));
  const nodes = graph.nodes.filter((node) => node.outputs.some(({ name }) => needed.has(name)));
  const lastReader = new Map<string, number>();
  nodes.forEach((node, i) => {
    for (const { name } of node.outputs) lastReader.set(name, i); // what nobody reads goes at once
    for (const source of node.inputs) if (source !== null) lastReader.set(source.name, i);
  });
  const letGo = new Map<number, string[]>();
  for (const [name, i] of lastReader) if (!kept.has(name)) letGo.set(i, [...(letGo.get(i) ?? []), name]);
  return nodes.map((node, i) => ({
    node,
    kernel: KERNELS[node.opType],
    isHostable: HOSTABLE.has(node.opType) && REFERENCE_KERNELS[node.opType] !== undefined,
    last: letGo.get(i) ?? [],
  }));
}

/** @throws QuerentError QRT_ENGINE_COMPILE that lists everything which cannot be run. */
export function assertRunnable(graph: Graph, engine: string, isRegistered: (kernel: string) => boolean, kernelsOf: Readonly<Record<string, readonly string[]>>): void {
  const needed = neededBy(graph, graph.outputs.values());
  const problems: string[] = [];
  for (const node of graph.nodes) {
    if (!node.outputs.some(({ name }) => needed.has(name))) continue;
    const where = `${node.domain === '' ? '' : `${node.domain}.`}${node.opType} (node ${node.name})`;
    const isRead = node.opType === 'Shape' || node.opType === 'Size';
    const kernel = KERNELS[node.opType];
    if (kernel === undefined && !isRead) problems.push(`${where} has no kernel`);
    const refusal = kernel?.refuses?.(node);
    if (refusal !== undefined) problems.push(`${where}: ${refusal.replace(/\.$/, '')}`);
    const lacking = (kernelsOf[node.opType] ?? []).filter((name) => !isRegistered(name));
    if (lacking.length > 0) problems.push(`${where}: this backend lacks TensorFlow.js's ${lacking.join(', ')}`);
  }
  for (const [name, { dtype }] of graph.outputs) if (!GIVEN_BACK.has(dtype)) problems.push(`output ${name} is ${dtype}, which TensorFlow.js does not have`);
  if (problems.length === 0) return;
  const more = problems.length > 12 ? `; and ${problems.length - 12} more` : '';
  throw new QuerentError('QRT_ENGINE_COMPILE', `${engine} cannot run graph ${graph.name}: ${problems.slice(0, 12).join('; ')}${more}.`, {
    fix: 'Run it on onnxruntime, or write the operator in packages/engine-tfjs/src/kernels.',
    details: problems,
  });
}
