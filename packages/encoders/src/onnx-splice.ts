/**
 * One graph within another: what an `.onnx` file computes from its image, added to a graph that is being built. Shapes are
 * inferred anew, so that the batch keeps the name that it has there.
 */
import type { Attribute, Dim, Graph, Node, Scope, Shape, Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import type { OutputSpec } from '@querent/graph';
import { addDims, constant, constantNumbers, dimTerms, inferOutputs, int, intVector, multiplyDims, op } from '@querent/graph';

/** The newest operators that graphs are written with, and the oldest that mean the same but for what {@link modernised} mends. */
const NEWEST_OPSET = 24;
const OLDEST_OPSET = 13;
const DOMAINS: ReadonlySet<string> = new Set(['', 'com.microsoft']);

/** @throws QuerentError QRT_MODEL_UNSUPPORTED for operators of another time or another vendor. */
export function assertOpset(graph: Graph, opsets: ReadonlyMap<string, number>, file: string): void {
  const opset = opsets.get('') ?? 0;
  if (opset < OLDEST_OPSET || opset > NEWEST_OPSET) {
    throw new QuerentError('QRT_MODEL_UNSUPPORTED', `${file} was written for opset ${opset} of ai.onnx; ${OLDEST_OPSET} to ${NEWEST_OPSET} are read.`, {
      fix: 'Export the model again with opset 18.',
      details: { file, opset },
    });
  }
  const foreign = new Set(graph.nodes.filter(({ domain }) => !DOMAINS.has(domain)).map(({ domain, opType }) => `${domain}.${opType}`));
  if (foreign.size === 0) return;
  throw new QuerentError('QRT_MODEL_UNSUPPORTED', `${file} has operators that are not ONNX's: ${[...foreign].slice(0, 5).join(', ')}.`, {
    fix: 'Export the model with standard operators only.',
    details: { file, operators: [...foreign].slice(0, 50) },
  });
}

/**
 * Adds what `wanted` depends on. Parameters are declared in `g`, under their names in the file.
 *
 * @param graph what was read from the file
 * @param input its image input, which `image` takes the place of
 * @returns the tensors that stand for `wanted`, in order
 * @throws QuerentError QRT_GRAPH_OP when something needs another input, or an operator does not fit `image`.
 */
export function splice(g: Scope, graph: Graph, input: Tensor, image: Tensor, wanted: readonly Tensor[]): readonly Tensor[] {
  const dims = new Map<string, Dim>();
  input.shape.forEach((dim, i) => {
    if (typeof dim === 'string') dims.set(dim, image.shape[i]!);
  });
  const copies = new Map<string, Tensor>([[input.name, image]]);
  const copyOf = (tensor: Tensor): Tensor => {
    const known = copies.get(tensor.name);
    if (known !== undefined) return known;
    const parameter = graph.parameters.get(tensor.name);
    const data = graph.constants.get(tensor.name);
    if (parameter === undefined && data === undefined) {
      throw new QuerentError('QRT_GRAPH_OP', `An image encoder's file needs the input ${tensor.name} as well as ${input.name}.`, { fix: 'Export the image encoder alone.' });
    }
    const made = parameter === undefined ? constant(g, data!) : g.parameter(parameter.name, parameter.shape, { dtype: parameter.dtype });
    copies.set(tensor.name, made);
    return made;
  };
  const needed = neededNodes(graph, wanted);
  for (const node of graph.nodes) {
    if (!needed.has(node)) continue;
    const { inputs, attributes } = modernised(g, node, node.inputs.map((one) => (one === null ? null : copyOf(one))));
    const outputs = op(node.opType, inputs, { domain: node.domain, attributes, outputs: specsOf(node, inputs, attributes, dims) });
    node.outputs.forEach((output, i) => copies.set(output.name, outputs[i]!)); // one for each spec
  }
  return wanted.map(copyOf);
}

function neededNodes(graph: Graph, wanted: readonly Tensor[]): ReadonlySet<Node> {
  const needed = new Set<Node>();
  const stack = [...wanted];
  for (let tensor = stack.pop(); tensor !== undefined; tensor = stack.pop()) {
    const node = graph.producer(tensor);
    if (node === undefined || needed.has(node)) continue;
    needed.add(node);
    for (const one of node.inputs) if (one !== null) stack.push(one);
  }
  return needed;
}

interface Application {
  readonly inputs: readonly (Tensor | null)[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** Opset 18: a reduction's axes are an input, and Split is told how many outputs it has. */
function modernised(g: Scope, node: Node, inputs: readonly (Tensor | null)[]): Application {
  const { attributes, opType } = node;
  const { axes, ...others } = attributes;
  if (node.domain === '' && opType.startsWith('Reduce') && axes?.type === 'ints') return { inputs: [inputs[0] ?? null, intVector(g, axes.value)], attributes: others };
  if (node.domain === '' && opType === 'Split' && inputs[1] === undefined && attributes['num_outputs'] === undefined) {
    return { inputs, attributes: { ...attributes, num_outputs: int(node.outputs.length) } };
  }
  return { inputs, attributes };
}

/** Inferred where there is a rule; else as the file has it, with the dims of its image replaced. */
function specsOf(node: Node, inputs: readonly (Tensor | null)[], attributes: Readonly<Record<string, Attribute>>, dims: ReadonlyMap<string, Dim>): readonly OutputSpec[] {
  let inferred: readonly OutputSpec[] = [];
  try {
    const known = (index: number): readonly number[] | undefined => {
      const input = inputs[index];
      return input === null || input === undefined ? undefined : constantNumbers(input);
    };
    inferred = inferOutputs({ opType: node.opType, inputs, attributes, constant: known });
  } catch {
    // No rule for this operator, or it needs to know what only a run knows: the file says what comes out.
  }
  return node.outputs.map(({ dtype, shape }, i) => inferred[i] ?? { dtype, shape: replaced(shape, dims) });
}

function replaced(shape: Shape, dims: ReadonlyMap<string, Dim>): Shape {
  return shape.map((dim) => {
    if (typeof dim === 'number') return dim;
    return dimTerms(dim)
      .map(({ coefficient, names }) => names.reduce<Dim>((product, name) => multiplyDims(product, dims.get(name) ?? name), coefficient))
      .reduce<Dim>((sum, term) => addDims(sum, term), 0);
  });
}
