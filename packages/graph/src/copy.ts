/** A graph again, but for what its maker puts differently: what the rewriters of engines and of precisions have in common. */
import type { Graph, GraphScope, Node, Tensor } from '@querent/core';
import { builderOf, createGraph } from './graph.ts';

/**
 * Copies a graph tensor by tensor. Inputs are there from the beginning; constants and parameters come when they are first asked for, so what
 * nobody asks for is left behind.
 *
 * @example
 * const copy = new GraphCopy(graph);
 * for (const node of graph.nodes) {
 *   if (node.opType === 'Dropout') copy.set(node.outputs[0]!, copy.of(node.inputs[0]!));
 *   else copy.add(node);
 * }
 * return copy.finish();
 */
export class GraphCopy {
  /** Of the new graph. */
  readonly scope: GraphScope;
  readonly #from: Graph;
  readonly #copies: Map<string, Tensor> = new Map();

  constructor(from: Graph) {
    this.#from = from;
    this.scope = createGraph(from.name);
    for (const input of from.inputs) this.set(input, this.scope.input(input.name, input.dtype, input.shape));
  }

  /** Is there something for this tensor of the old graph already? */
  has({ name }: Tensor): boolean {
    return this.#copies.has(name);
  }

  /** What stands for a tensor of the old graph. */
  of(tensor: Tensor): Tensor {
    const known = this.#copies.get(tensor.name);
    if (known !== undefined) return known;
    const constant = this.#from.constants.get(tensor.name);
    const copy = constant === undefined ? this.#parameter(tensor.name) : builderOf(this.scope).addConstant(constant);
    this.set(tensor, copy);
    return copy;
  }

  /** From here on `copy` stands for a tensor of the old graph. */
  set({ name }: Tensor, copy: Tensor): void {
    this.#copies.set(name, copy);
  }

  /** A node as it is, over what stands for its inputs. */
  add(node: Node): void {
    const inputs = node.inputs.map((input) => (input === null ? null : this.of(input)));
    const outputs = builderOf(this.scope).addNode(node.opType, node.domain, inputs, node.attributes, node.outputs);
    node.outputs.forEach((output, i) => this.set(output, outputs[i]!));
  }

  /** The new graph, with the old one's outputs under their names. */
  finish(): Graph {
    for (const [name, tensor] of this.#from.outputs) this.scope.output(name, this.of(tensor));
    return this.scope.graph;
  }

  #parameter(name: string): Tensor {
    const { shape, dtype, initialiser } = this.#from.parameters.get(name)!; // what is neither made, nor an input, nor a constant
    return this.scope.parameter(name, shape, { dtype, initialiser });
  }
}
