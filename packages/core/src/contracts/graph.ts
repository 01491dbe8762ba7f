/**
 * What a graph is, for those who only read it: engines, tasks and training. Types only; `@querent/graph` builds them.
 * The vocabulary is ONNX's: a node has an `opType` of a `domain`, attributes, and ordered inputs and outputs.
 */
import type { DType, TensorData } from '../tensor.ts';

/** A dim is a number, or an expression over named dims such as `batch` or `queries + tokens`. */
export type Dim = number | string;
export type Shape = readonly Dim[];

/** A symbolic tensor: a name within its graph, with what is known of it before anything runs. */
export interface Tensor {
  readonly graph: Graph;
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
}

export type Attribute =
  | { readonly type: 'int'; readonly value: number }
  | { readonly type: 'float'; readonly value: number }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'ints'; readonly value: readonly number[] }
  | { readonly type: 'floats'; readonly value: readonly number[] }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'tensor'; readonly value: TensorData };

/** One application of an operator. A missing optional input is `null`. */
export interface Node {
  readonly opType: string;
  /** `''` is ai.onnx; the other one used is `com.microsoft`. */
  readonly domain: string;
  readonly name: string;
  readonly inputs: readonly (Tensor | null)[];
  readonly outputs: readonly Tensor[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** How a parameter is drawn when nothing is loaded for it. */
export type Initialiser =
  | { readonly kind: 'zeros' }
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'normal'; readonly std: number }
  | { readonly kind: 'uniform'; readonly bound: number };

/** A tensor whose bytes come from a checkpoint; its name is the checkpoint's. */
export interface GraphParameter {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly initialiser: Initialiser;
  readonly tensor: Tensor;
}

export interface Graph {
  readonly name: string;
  /** In an order in which they can run. */
  readonly nodes: readonly Node[];
  readonly inputs: readonly Tensor[];
  /** Public output name → tensor. */
  readonly outputs: ReadonlyMap<string, Tensor>;
  readonly parameters: ReadonlyMap<string, GraphParameter>;
  /** Tensor name → constant bytes. */
  readonly constants: ReadonlyMap<string, TensorData>;
  /** The node that made a tensor; undefined for inputs, parameters and constants. */
  producer(tensor: Tensor): Node | undefined;
}

/** Where a model's function stands in the tree of names: `scope('encoder', 'layer', 0)` spells the checkpoint. */
export interface Scope {
  readonly graph: Graph;
  /** The dotted path, `''` at the root. */
  readonly path: string;
  scope(...path: readonly (string | number)[]): Scope;
  /**
   * Declares `path.name` (just `name` at the root); asking again for the same name gives the same tensor (tied weights).
   * @throws QuerentError QRT_GRAPH_PARAMETER when it was declared with another shape or dtype.
   */
  parameter(name: string, shape: readonly number[], options?: ParameterOptions): Tensor;
}

export interface ParameterOptions {
  readonly dtype?: DType;
  readonly initialiser?: Initialiser;
}

/** The root scope of a graph being built. */
export interface GraphScope extends Scope {
  /** A graph input, fed at each run. */
  input(name: string, dtype: DType, shape: Shape): Tensor;
  /** Names a tensor as a graph output. */
  output(name: string, tensor: Tensor): void;
}
