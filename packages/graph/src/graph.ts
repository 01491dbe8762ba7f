/**
 * The graph being built: nodes in the order they were added, named tensors, and the scopes that spell parameter names.
 * A graph only grows. Operators are in `ops.ts`, layers in `layers.ts`; the types are core's contracts.
 */
import type {
  Attribute,
  DType,
  Dim,
  Graph,
  GraphParameter,
  GraphScope,
  Node,
  ParameterOptions,
  Scope,
  Shape,
  Tensor,
  TensorData,
} from '@querent/core';
import { QuerentError } from '@querent/core';
import { printShape } from './dims.ts';

/** Where an operator's result goes: dtype and shape of each output. */
export interface OutputSpec {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** The one implementation of core's {@link Graph}; everything outside this package sees only the contract. */
export class GraphBuilder implements Graph {
  readonly name: string;
  readonly nodes: Node[] = [];
  readonly inputs: Tensor[] = [];
  readonly outputs: Map<string, Tensor> = new Map();
  readonly parameters: Map<string, GraphParameter> = new Map();
  readonly constants: Map<string, TensorData> = new Map();
  readonly #producers: Map<string, Node> = new Map();
  readonly #constantsByValue: Map<string, Tensor> = new Map();
  /** Named dim → the tensor and axis where it can be read at run time. */
  readonly #dimSources: Map<string, { tensor: Tensor; axis: number }> = new Map();
  readonly #memo: Map<string, Tensor> = new Map();
  #count = 0;

  constructor(name: string) {
    this.name = name;
  }

  producer(tensor: Tensor): Node | undefined {
    return this.#producers.get(tensor.name);
  }

  addInput(name: string, dtype: DType, shape: Shape): Tensor {
    if (this.inputs.some((input) => input.name === name) || this.parameters.has(name)) {
      throw new QuerentError('QRT_GRAPH_OP', `Graph ${this.name} has two inputs called ${name}.`);
    }
    const tensor: Tensor = { graph: this, name, dtype, shape };
    this.inputs.push(tensor);
    this.#noteDims(tensor);
    return tensor;
  }

  addParameter(name: string, shape: readonly number[], options: ParameterOptions): Tensor {
    const dtype = options.dtype ?? 'float32';
    const known = this.parameters.get(name);
    if (known !== undefined) {
      if (known.dtype !== dtype || printShape(known.shape) !== printShape(shape)) {
        throw new QuerentError(
          'QRT_GRAPH_PARAMETER',
          `Parameter ${name} is ${known.dtype} ${printShape(known.shape)}; it was asked for again as ${dtype} ${printShape(shape)}.`,
          { fix: 'A shared (tied) parameter must have one shape. Is a scope missing?' },
        );
      }
      return known.tensor;
    }
    const tensor: Tensor = { graph: this, name, dtype, shape };
    this.parameters.set(name, { name, dtype, shape, initialiser: options.initialiser ?? { kind: 'zeros' }, tensor });
    return tensor;
  }

  /** Small constants of equal value are one tensor. */
  addConstant(data: TensorData): Tensor {
    const key = data.data.length <= 16 ? `${data.dtype}:${data.shape.join()}:${data.data.join()}` : undefined;
    const known = key === undefined ? undefined : this.#constantsByValue.get(key);
    if (known !== undefined) return known;
    const tensor: Tensor = { graph: this, name: this.#freshName('constant'), dtype: data.dtype, shape: data.shape };
    this.constants.set(tensor.name, data);
    if (key !== undefined) this.#constantsByValue.set(key, tensor);
    return tensor;
  }

  addNode(
    opType: string,
    domain: string,
    inputs: readonly (Tensor | null)[],
    attributes: Readonly<Record<string, Attribute>>,
    outputs: readonly OutputSpec[],
  ): Tensor[] {
    for (const input of inputs) {
      if (input !== null && input.graph !== this) {
        throw new QuerentError('QRT_GRAPH_OP', `${opType}: tensor ${input.name} belongs to graph ${input.graph.name}, not ${this.name}.`);
      }
    }
    const name = this.#freshName(opType);
    const results = outputs.map((output, i): Tensor => ({
      graph: this,
      name: i === 0 ? name : `${name}:${i}`,
      dtype: output.dtype,
      shape: output.shape,
    }));
    const node: Node = { opType, domain, name, inputs, outputs: results, attributes };
    this.nodes.push(node);
    for (const result of results) {
      this.#producers.set(result.name, node);
      this.#noteDims(result);
    }
    return results;
  }

  /** Where the named dim can be read at run time: an input or the first tensor that has it. */
  dimSource(name: string): { tensor: Tensor; axis: number } {
    const source = this.#dimSources.get(name);
    if (source === undefined) {
      throw new QuerentError('QRT_GRAPH_OP', `Graph ${this.name} has no tensor with a dim named ${name}.`, {
        fix: 'Declare an input with that dim, or give the size as a number.',
      });
    }
    return source;
  }

  /** Builds `key` once; for shape arithmetic that many operators ask for. */
  once(key: string, build: () => Tensor): Tensor {
    const known = this.#memo.get(key);
    if (known !== undefined) return known;
    const tensor = build();
    this.#memo.set(key, tensor);
    return tensor;
  }

  #noteDims(tensor: Tensor): void {
    tensor.shape.forEach((dim: Dim, axis) => {
      if (typeof dim === 'string' && /^[A-Za-z_]\w*$/.test(dim) && !this.#dimSources.has(dim)) {
        this.#dimSources.set(dim, { tensor, axis });
      }
    });
  }

  /** A name that no tensor has yet: a graph that was read may hold names like ours. */
  #freshName(stem: string): string {
    for (;;) {
      const name = `${stem}_${this.#count++}`;
      if (!this.#producers.has(name) && !this.parameters.has(name) && !this.constants.has(name) && !this.inputs.some((input) => input.name === name)) return name;
    }
  }
}

class ScopeAt implements Scope {
  readonly graph: GraphBuilder;
  readonly path: string;

  constructor(graph: GraphBuilder, path: string) {
    this.graph = graph;
    this.path = path;
  }

  scope(...path: readonly (string | number)[]): Scope {
    const inner = path.join('.');
    return new ScopeAt(this.graph, this.path === '' ? inner : `${this.path}.${inner}`);
  }

  parameter(name: string, shape: readonly number[], options: ParameterOptions = {}): Tensor {
    return this.graph.addParameter(this.path === '' ? name : `${this.path}.${name}`, shape, options);
  }
}

class RootScope extends ScopeAt implements GraphScope {
  constructor(graph: GraphBuilder) {
    super(graph, '');
  }

  input(name: string, dtype: DType, shape: Shape): Tensor {
    return this.graph.addInput(name, dtype, shape);
  }

  output(name: string, tensor: Tensor): void {
    this.graph.outputs.set(name, tensor);
  }
}

/**
 * An empty graph's root scope.
 *
 * @example
 * const g = createGraph('double');
 * g.output('y', add(g.input('x', 'float32', ['batch']), g.graph.inputs[0]!));
 */
export function createGraph(name: string): GraphScope {
  return new RootScope(new GraphBuilder(name));
}

/** The builder behind a contract's graph: only graphs made here can grow. */
export function builderOf(owner: { readonly graph: Graph }): GraphBuilder {
  if (owner.graph instanceof GraphBuilder) return owner.graph;
  throw new QuerentError('QRT_GRAPH_OP', `Graph ${owner.graph.name} was not made by createGraph or readOnnx and cannot be added to.`);
}
