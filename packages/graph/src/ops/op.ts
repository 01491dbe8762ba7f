/** How an operator enters the graph: inputs that may be plain numbers, typed attributes, inferred outputs. */
import type { Attribute, DType, Dim, Graph, Shape, Tensor, TensorData } from '@querent/core';
import { QuerentError, int64, tensor as tensorOf, allocate } from '@querent/core';
import { dimTerms } from '../dims.ts';
import type { OutputSpec } from '../graph.ts';
import { builderOf } from '../graph.ts';
import { inferOutputs } from '../shape.ts';

/** A tensor, or a number that becomes a scalar constant of the other operand's dtype. */
export type Operand = Tensor | number;

export const int = (value: number): Attribute => ({ type: 'int', value });
export const float = (value: number): Attribute => ({ type: 'float', value });
export const text = (value: string): Attribute => ({ type: 'string', value });
export const ints = (value: readonly number[]): Attribute => ({ type: 'ints', value });

export interface OpOptions {
  readonly domain?: string;
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** Dtype and shape of the outputs, where shape inference has no rule or the caller knows more. */
  readonly outputs?: readonly OutputSpec[];
}

/** Adds any ONNX operator; the graph is taken from the first tensor. Returns all its outputs. */
export function op(opType: string, inputs: readonly (Tensor | null)[], options: OpOptions = {}): Tensor[] {
  const first = inputs.find((input) => input !== null);
  if (first === undefined || first === null) throw new QuerentError('QRT_GRAPH_OP', `${opType} needs at least one input tensor.`);
  const builder = builderOf(first);
  const attributes = options.attributes ?? {};
  const outputs =
    options.outputs ??
    inferOutputs({
      opType,
      inputs,
      attributes,
      constant: (index) => {
        const input = inputs[index];
        return input === null || input === undefined ? undefined : constantNumbers(input);
      },
    });
  return builder.addNode(opType, options.domain ?? '', inputs, attributes, outputs);
}

/** The first output of {@link op}. */
export function op1(opType: string, inputs: readonly (Tensor | null)[], options: OpOptions = {}): Tensor {
  return op(opType, inputs, options)[0]!;
}

/** The numbers of a tensor that is a constant of its graph. */
export function constantNumbers(x: Tensor): readonly number[] | undefined {
  const data = x.graph.constants.get(x.name);
  return data === undefined ? undefined : Array.from(data.data as ArrayLike<number | bigint>, Number);
}

/** A constant; small equal ones are shared. */
export function constant(owner: { readonly graph: Graph }, data: TensorData): Tensor {
  return builderOf(owner).addConstant(data);
}

/** A scalar constant of `dtype`. */
export function scalar(owner: { readonly graph: Graph }, value: number, dtype: DType = 'float32'): Tensor {
  if (dtype === 'float16' || dtype === 'bfloat16') {
    throw new QuerentError('QRT_GRAPH_OP', `A ${dtype} scalar cannot be written from a number.`, { fix: 'Use a float32 scalar and cast().' });
  }
  const data = allocate(dtype, 1);
  if (data instanceof BigInt64Array) data[0] = BigInt(value);
  else data[0] = value;
  return constant(owner, tensorOf(dtype, [], data));
}

/** An int64 vector constant. */
export function intVector(owner: { readonly graph: Graph }, values: readonly number[]): Tensor {
  return constant(owner, int64([values.length], values));
}

/** Turns a pair of operands into tensors of one dtype. */
export function operands(a: Operand, b: Operand): [Tensor, Tensor] {
  if (typeof a !== 'number') return [a, typeof b === 'number' ? scalar(a, b, a.dtype) : b];
  if (typeof b !== 'number') return [scalar(b, a, b.dtype), b];
  throw new QuerentError('QRT_GRAPH_OP', `An operator was given two numbers (${a}, ${b}); one operand must be a tensor.`);
}

/** The size of a dim as an int64 scalar, read from a tensor at run time where it is not a number. */
export function dimOf(owner: { readonly graph: Graph }, dim: Dim): Tensor {
  const builder = builderOf(owner);
  if (typeof dim === 'number') return scalar(owner, dim, 'int64');
  return builder.once(`dim:${dim}`, () => {
    const terms = dimTerms(dim).map(({ coefficient, names }) => {
      const factors = names.map((name) => namedDim(owner, name));
      const product = factors.reduce<Tensor | undefined>((p, q) => (p === undefined ? q : op1('Mul', [p, q])), undefined);
      if (product === undefined) return scalar(owner, coefficient, 'int64');
      return coefficient === 1 ? product : op1('Mul', [product, scalar(owner, coefficient, 'int64')]);
    });
    return terms.reduce((p, q) => op1('Add', [p, q]));
  });
}

function namedDim(owner: { readonly graph: Graph }, name: string): Tensor {
  const builder = builderOf(owner);
  return builder.once(`dim:${name}`, () => {
    const { tensor, axis } = builder.dimSource(name);
    const sizes = builder.once(`shape:${tensor.name}`, () => op1('Shape', [tensor]));
    return op1('Gather', [sizes, scalar(owner, axis, 'int64')], { attributes: { axis: int(0) } });
  });
}

/** A shape as an int64 vector: a constant where all dims are numbers, else put together at run time. */
export function shapeVector(owner: { readonly graph: Graph }, shape: Shape): Tensor {
  if (shape.every((dim) => typeof dim === 'number')) return intVector(owner, shape as readonly number[]);
  return builderOf(owner).once(`shape-vector:${shape.join()}`, () => {
    const parts = shape.map((dim) => op1('Unsqueeze', [dimOf(owner, dim), intVector(owner, [0])]));
    return op1('Concat', parts, { attributes: { axis: int(0) } });
  });
}
