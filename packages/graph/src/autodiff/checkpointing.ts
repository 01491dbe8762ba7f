/**
 * Activation checkpointing (Chen 2016): a graph is cut at block boundaries. Only the tensors at the cuts are kept from the forward
 * pass; each segment is computed once more in its backward pass. Memory is that of the cuts and one segment, time about 4/3.
 *
 * Every segment becomes graphs of its own: recomputation inside one graph would be merged away as a common subexpression.
 * `checkpoint` makes them, the caller compiles each with its engine, `runCheckpointed` runs them in order.
 *
 *     forward 0 → cut/0 → forward 1 → cut/1 → … → backward n (losses, grad/cut/n-1) → … → backward 1 → grad/cut/0 → backward 0
 */
import type { Executable, Graph, Node, Tensor, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import type { GraphBuilder } from '../graph.ts';
import { builderOf, createGraph } from '../graph.ts';
import { add, mul } from '../ops/elementwise.ts';
import { reduceSum } from '../ops/reductions.ts';
import { grad } from './grad.ts';

const GRADIENT = 'grad/';
const CUT = 'cut/';

/** One stretch between two cuts. */
export interface CheckpointSegment {
  /** Earlier cuts, inputs and parameters → its cuts `cut/<i>`. Absent for the last segment, whose backward graph does it. */
  readonly forward: Graph | null;
  /** The same and `grad/cut/<i>` of its cuts → `grad/<parameter>`, `grad/cut/<i>` of earlier cuts; the last: the losses too. Null where nothing learns. */
  readonly backward: Graph | null;
}

export interface CheckpointOptions {
  /** Names of the scalar outputs, `loss` included. Default: `loss` alone. */
  readonly losses?: Readonly<Record<string, Tensor>>;
}

/**
 * Cuts a graph that computes `loss` into segments with gradients for `trained`. A segment may read any earlier cut. What does not
 * depend on trained parameters (masks, sizes) is copied to each segment that reads it: cut behind a frozen tower to run it once.
 *
 * @param trained names of the parameters to learn.
 * @param cuts the boundaries in the order of computation, each of one tensor or of several.
 * @throws QuerentError QRT_GRAPH_GRADIENT when a tensor crosses a boundary without being a cut, or a boundary computes nothing.
 */
export function checkpoint(loss: Tensor, trained: readonly string[], cuts: readonly (Tensor | readonly Tensor[])[], options: CheckpointOptions = {}): readonly CheckpointSegment[] {
  const source = builderOf(loss);
  const losses = { ...options.losses, loss };
  const boundaries = cuts.map((cut): readonly Tensor[] => ('graph' in cut ? [cut] : cut));
  const learned = dependents(source, trained);
  /** Name of a cut tensor → its number. */
  const numbers = new Map<string, number>();
  const owners = new Map<Node, number>();
  const unused = new Set(trained);
  return [...boundaries, Object.values(losses)].map((roots, k): CheckpointSegment => {
    const isLast = k === boundaries.length;
    const nodes = segmentNodes(source, roots, { numbers, owners, learned, k });
    if (nodes.size === 0) throw new QuerentError('QRT_GRAPH_GRADIENT', `Cut ${k} of graph ${source.name} lies at an input or an earlier cut, so its segment computes nothing.`);
    const own = trained.filter((name) => [...nodes].some((node) => node.inputs.some((input) => input?.name === name)));
    for (const name of own) unused.delete(name);
    const asked = isLast ? [...own, ...unused] : own; // a parameter that nothing reads has the gradient 0
    const incoming = new Map([...numbers].filter(([name]) => learned.has(name) && [...nodes].some((node) => node.inputs.some((input) => input?.name === name))));
    const known = new Map(numbers);
    for (const root of isLast ? [] : roots) if (!numbers.has(root.name)) numbers.set(root.name, numbers.size);
    const outgoing = isLast ? [] : roots;

    let forward: Graph | null = null;
    if (!isLast) {
      const copy = new SegmentCopy(source, `${source.name}/forward-${k}`, nodes, known);
      for (const root of outgoing) copy.scope.output(CUT + numbers.get(root.name)!, copy.of(root));
      forward = copy.scope.graph;
    }
    if (!isLast && (!outgoing.some((root) => learned.has(root.name)) || (asked.length === 0 && incoming.size === 0))) return { forward, backward: null };

    const copy = new SegmentCopy(source, `${source.name}/backward-${k}`, nodes, known);
    const pulled = isLast ? copy.of(loss) : pull(copy, outgoing.filter((root) => learned.has(root.name)), numbers);
    const gradients = grad(pulled, [...asked.map((name) => copy.parameter(name)), ...[...incoming.values()].map((number) => copy.cut(number))]);
    [...asked, ...[...incoming.values()].map((number) => CUT + number)].forEach((name, i) => copy.scope.output(GRADIENT + name, gradients[i]!));
    if (isLast) for (const [name, tensor] of Object.entries(losses)) copy.scope.output(name, copy.of(tensor));
    return { forward, backward: copy.scope.graph };
  });
}

/** Σ cut · its gradient: a scalar whose gradients are those that flow in through the cuts. Only its derivative is computed. */
function pull(copy: SegmentCopy, roots: readonly Tensor[], numbers: ReadonlyMap<string, number>): Tensor {
  const terms = roots.map((root) => {
    const gradient = copy.scope.input(`${GRADIENT}${CUT}${numbers.get(root.name)!}`, root.dtype, root.shape);
    const product = mul(copy.of(root), gradient);
    return product.shape.length === 0 ? product : reduceSum(product, product.shape.map((_, axis) => axis), false);
  });
  return terms.reduce((a, b) => add(a, b));
}

/** Names of all tensors that depend on one of the parameters. */
function dependents(source: GraphBuilder, trained: readonly string[]): ReadonlySet<string> {
  const names = new Set<string>();
  for (const name of trained) {
    const parameter = source.parameters.get(name);
    if (parameter === undefined) throw new QuerentError('QRT_GRAPH_GRADIENT', `Graph ${source.name} has no parameter ${name}.`);
    names.add(parameter.tensor.name);
  }
  for (const node of source.nodes) {
    if (node.inputs.some((input) => input !== null && names.has(input.name))) for (const output of node.outputs) names.add(output.name);
  }
  return names;
}

interface Progress {
  readonly numbers: ReadonlyMap<string, number>;
  /** Which segment computes a node that depends on trained parameters. */
  readonly owners: Map<Node, number>;
  readonly learned: ReadonlySet<string>;
  readonly k: number;
}

/** The nodes between earlier cuts and `roots`, in the graph's order. */
function segmentNodes(source: GraphBuilder, roots: readonly Tensor[], { numbers, owners, learned, k }: Progress): ReadonlySet<Node> {
  const found = new Set<Node>();
  const stack = [...roots];
  for (let tensor = stack.pop(); tensor !== undefined; tensor = stack.pop()) {
    const node = numbers.has(tensor.name) ? undefined : source.producer(tensor);
    if (node === undefined || found.has(node)) continue;
    const owner = owners.get(node);
    if (owner !== undefined && owner !== k) {
      throw new QuerentError('QRT_GRAPH_GRADIENT', `Segment ${k} of graph ${source.name} reads ${tensor.name}, which segment ${owner} computes and which is no cut.`, {
        fix: `Add ${tensor.name} (a ${node.opType}) to the tensors of cut ${owner}.`,
      });
    }
    if (node.outputs.some((output) => learned.has(output.name))) owners.set(node, k);
    found.add(node);
    for (const input of node.inputs) if (input !== null) stack.push(input);
  }
  return new Set(source.nodes.filter((node) => found.has(node)));
}

/** A graph of its own with the nodes of a segment. Cuts become inputs `cut/<i>`; inputs and parameters keep their names. */
class SegmentCopy {
  readonly scope: ReturnType<typeof createGraph>;
  readonly #source: GraphBuilder;
  readonly #builder: GraphBuilder;
  readonly #copies: Map<string, Tensor> = new Map();
  readonly #numbers: ReadonlyMap<string, number>;

  constructor(source: GraphBuilder, name: string, nodes: ReadonlySet<Node>, numbers: ReadonlyMap<string, number>) {
    this.scope = createGraph(name);
    this.#source = source;
    this.#builder = builderOf(this.scope);
    this.#numbers = numbers;
    // Graph inputs first: sizes that gradients need are read from them where they can be.
    for (const input of source.inputs) if ([...nodes].some((node) => node.inputs.some((x) => x?.name === input.name))) this.of(input);
    for (const node of nodes) {
      const inputs = node.inputs.map((input) => (input === null ? null : this.of(input)));
      const outputs = this.#builder.addNode(node.opType, node.domain, inputs, node.attributes, node.outputs);
      node.outputs.forEach((output, i) => this.#copies.set(output.name, outputs[i]!));
    }
  }

  /** The copy of a tensor of the source graph. */
  of(tensor: Tensor): Tensor {
    const known = this.#copies.get(tensor.name);
    if (known !== undefined) return known;
    const copy = this.#import(tensor);
    this.#copies.set(tensor.name, copy);
    return copy;
  }

  parameter(name: string): Tensor {
    return this.of(this.#source.parameters.get(name)!.tensor);
  }

  cut(number: number): Tensor {
    return this.scope.graph.inputs.find((input) => input.name === CUT + number)!;
  }

  #import(tensor: Tensor): Tensor {
    const number = this.#numbers.get(tensor.name);
    if (number !== undefined) return this.scope.input(CUT + number, tensor.dtype, tensor.shape);
    const parameter = this.#source.parameters.get(tensor.name);
    if (parameter !== undefined) return this.#builder.addParameter(parameter.name, parameter.shape, { dtype: parameter.dtype, initialiser: parameter.initialiser });
    const constant = this.#source.constants.get(tensor.name);
    if (constant !== undefined) return this.#builder.addConstant(constant);
    return this.scope.input(tensor.name, tensor.dtype, tensor.shape);
  }
}

/** A {@link CheckpointSegment}, compiled. */
export interface CheckpointExecutables {
  readonly forward: Pick<Executable, 'inputs' | 'outputs' | 'run'> | null;
  readonly backward: Pick<Executable, 'inputs' | 'outputs' | 'run'> | null;
}

/**
 * One training step over compiled segments: the losses and `grad/<parameter>`, as the graph in one piece gives them.
 * A cut is let go when the backward pass has gone by the segment that made it.
 *
 * @param feeds inputs and trained parameters of the whole graph, by name.
 */
export async function runCheckpointed(segments: readonly CheckpointExecutables[], feeds: Readonly<Record<string, TensorData>>): Promise<Record<string, TensorData>> {
  const values = new Map<string, TensorData>(Object.entries(feeds));
  const feedsOf = ({ inputs }: Pick<Executable, 'inputs'>): Record<string, TensorData> => {
    const given: Record<string, TensorData> = {};
    for (const { name } of inputs) {
      const value = values.get(name) ?? (name.startsWith(GRADIENT + CUT) ? zeros(values.get(name.slice(GRADIENT.length))) : undefined);
      if (value !== undefined) given[name] = value; // the engine names what is missing
    }
    return given;
  };
  for (const { forward } of segments) {
    if (forward !== null) for (const [name, value] of Object.entries(await forward.run(feedsOf(forward)))) values.set(name, value);
  }
  const results: Record<string, TensorData> = {};
  for (const { forward, backward } of [...segments].reverse()) {
    if (backward !== null) {
      for (const [name, value] of Object.entries(await backward.run(feedsOf(backward)))) {
        if (!name.startsWith(GRADIENT)) results[name] = value;
        else if (name.startsWith(GRADIENT + CUT)) values.set(name, plus(values.get(name), value));
        else results[name] = plus(results[name], value);
      }
    }
    for (const { name } of forward?.outputs ?? []) {
      values.delete(name);
      values.delete(GRADIENT + name);
    }
  }
  return results;
}

/** The gradient of a cut that nothing read. */
function zeros(cut: TensorData | undefined): TensorData | undefined {
  return cut === undefined ? undefined : { dtype: 'float32', shape: cut.shape, data: new Float32Array(cut.data.length) };
}

/** Adds in place to what was there. */
function plus(sum: TensorData | undefined, part: TensorData): TensorData {
  if (sum === undefined) return part;
  const [a, b] = [sum.data as Float32Array, part.data as Float32Array]; // gradients are float32
  for (let i = 0; i < a.length; i++) a[i] = a[i]! + b[i]!;
  return sum;
}
