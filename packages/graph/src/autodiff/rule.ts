/** What a gradient rule sees and gives: the vector-Jacobian product of one operator. */
import type { Attribute, Dim, Node, Shape, Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import { cast, div, mul } from '../ops/elementwise.ts';
import { dimOf } from '../ops/op.ts';
import { reduceSum } from '../ops/reductions.ts';
import { expand, reshape } from '../ops/shaping.ts';

export interface RuleContext {
  readonly node: Node;
  /** Input `i`; throws when it is absent. */
  x(index: number): Tensor;
  /** Output `i`. */
  y(index: number): Tensor;
  /** Does the gradient of input `i` lead to something that was asked for? */
  needs(index: number): boolean;
  /** Gradient of output `i` in the output's full shape, or undefined where nothing flows back. */
  dy(index: number): Tensor | undefined;
  /** The same before broadcasting: some axes may still be 1. Cheaper where a rule can use it. */
  dyCompact(index: number): Tensor | undefined;
}

/**
 * A gradient that adds itself to the sum so far of the same input, which has the input's full shape; undefined when it is the first.
 * For gradients that touch few elements of something large, such as some rows of a vocabulary.
 */
export type AddedGradient = (sum: Tensor | undefined) => Tensor;

/**
 * The gradients of the inputs, in their order; null where there is none. A gradient may be smaller than its input as
 * long as it broadcasts to it.
 */
export type GradientRule = (context: RuleContext) => readonly (Tensor | AddedGradient | null)[];

/** Sums a gradient over the axes along which `shape` was broadcast. */
export function unbroadcast(gradient: Tensor, shape: Shape): Tensor {
  const extra = gradient.shape.length - shape.length;
  const axes = gradient.shape.flatMap((dim, axis) => (axis < extra || (shape[axis - extra] === 1 && dim !== 1) ? [axis] : []));
  if (axes.length === 0) return gradient;
  return reshape(reduceSum(gradient, axes), shape);
}

/** Broadcasts a compact gradient to the shape it stands for. */
export function complete(gradient: Tensor, shape: Shape): Tensor {
  return expand(gradient, shape);
}

/** `x / size`, where the size may only be known at run time. */
export function divideBySize(x: Tensor, size: Dim): Tensor {
  return typeof size === 'number' ? mul(x, 1 / size) : div(x, cast(dimOf(x, size), 'float32'));
}

export function intOf(node: Node, name: string, fallback: number): number {
  const attribute: Attribute | undefined = node.attributes[name];
  return attribute?.type === 'int' ? attribute.value : fallback;
}

export function floatOf(node: Node, name: string, fallback: number): number {
  const attribute: Attribute | undefined = node.attributes[name];
  return attribute?.type === 'float' ? attribute.value : fallback;
}

export function intsOf(node: Node, name: string): readonly number[] | undefined {
  const attribute: Attribute | undefined = node.attributes[name];
  return attribute?.type === 'ints' ? attribute.value : undefined;
}

export function textOf(node: Node, name: string, fallback: string): string {
  const attribute: Attribute | undefined = node.attributes[name];
  return attribute?.type === 'string' ? attribute.value : fallback;
}

/** The error for an operator, or a form of it, that has no gradient here. */
export function noGradient(node: Node, why: string): QuerentError {
  return new QuerentError('QRT_GRAPH_GRADIENT', `No gradient flows through ${node.opType} (${node.name}): ${why}`, {
    fix: 'Leave the parameters behind it out of what is trained, or compose the model from operators that have one.',
  });
}
