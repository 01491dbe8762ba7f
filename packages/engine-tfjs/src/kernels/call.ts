/** One operator of a run, and the readers of its inputs and attributes that all kernels share. */
import type { Tensor as TfTensor } from '@tensorflow/tfjs-core';
import type { Node, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import type { Tf, TfDType } from '../tf.ts';
import type { Value } from '../values.ts';

/** One operator with its inputs at hand. */
export interface Call {
  readonly tf: Tf;
  readonly node: Node;
  readonly inputs: readonly (Value | undefined)[];
  /** May numbers be read from the device in the middle of a run? Only where the device is this process's own memory. */
  readonly readsBack: boolean;
}

/** An operator's outputs on the device, in ONNX's order. Runs inside `tidy`. */
export type Kernel = (call: Call) => readonly TfTensor[];

/** A kernel with what it does not do, said when the graph is compiled. */
export interface KernelEntry {
  readonly run: Kernel;
  /** Why this node cannot be run, or undefined. */
  readonly refuses?: (node: Node) => string | undefined;
}

export type Kernels = Readonly<Record<string, KernelEntry>>;

/** Kernels that refuse nothing. */
export function plain(kernels: Readonly<Record<string, Kernel>>): Kernels {
  return Object.fromEntries(Object.entries(kernels).map(([name, run]) => [name, { run }]));
}

/** The failure of a node at run time. */
export function failed(call: Call, problem: string): QuerentError {
  const given = call.inputs.map((x) => (x === undefined ? '(none)' : `${x.dtype} [${x.shape.join(', ')}]`)).join(', ');
  return new QuerentError('QRT_ENGINE_RUN', `TensorFlow.js cannot compute ${call.node.opType}(${given}) of node ${call.node.name}: ${problem}`);
}

export function value(call: Call, index: number): Value {
  const found = call.inputs[index];
  if (found === undefined) throw failed(call, `input ${index} is missing.`);
  return found;
}

/** An input on the device. */
export function input(call: Call, index: number): TfTensor {
  return value(call, index).tensor;
}

/** An input that may be left out, on the device. */
export function optional(call: Call, index: number): TfTensor | undefined {
  return call.inputs[index]?.tensor;
}

/** An input's numbers: axes, bounds, shapes. */
export function numbersAt(call: Call, index: number): readonly number[] {
  const found = value(call, index);
  if (found.numbers !== undefined) return found.numbers;
  if (call.readsBack) return Array.from(found.tensor.dataSync());
  throw failed(call, `input ${index} is computed on the device, and this backend cannot be read in the middle of a run.`);
}

/** Numbers from an input (newer opsets) or else from an attribute (older ones). */
export function numbersOr(call: Call, index: number, name: string): readonly number[] | undefined {
  return call.inputs[index] === undefined ? intsOf(call.node, name) : numbersAt(call, index);
}

export function intOf(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes[name];
  return attribute?.type === 'int' ? attribute.value : fallback;
}

export function floatOf(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes[name];
  return attribute?.type === 'float' ? attribute.value : fallback;
}

export function textOf(node: Node, name: string, fallback: string): string {
  const attribute = node.attributes[name];
  return attribute?.type === 'string' ? attribute.value : fallback;
}

export function intsOf(node: Node, name: string): readonly number[] | undefined {
  const attribute = node.attributes[name];
  return attribute?.type === 'ints' ? attribute.value : undefined;
}

export function tensorOf(node: Node, name: string): TensorData | undefined {
  const attribute = node.attributes[name];
  return attribute?.type === 'tensor' ? attribute.value : undefined;
}

/** A negative axis counts from the end. */
export function axisOf(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

/** `values` with `at` replaced. */
export function replaced(values: readonly number[], at: number, by: number): number[] {
  return values.map((old, i) => (i === at ? by : old));
}

/** The axes in order, with `axis` last, and the permutation that undoes it. */
export function axisLast(rank: number, axis: number): { readonly there: number[]; readonly back: number[] } {
  const axes = [...Array(rank).keys()];
  const there = [...axes.filter((i) => i !== axis), axis];
  return { there, back: axes.map((i) => there.indexOf(i)) };
}

/** The product of the sizes. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/**
 * `x` in another dtype. WebGPU's cast lets the integers lie and calls them floats; a shader that indexes them itself (its transpose) then
 * does not compile, so there a product makes floats of them.
 */
export function castTo(tf: Tf, x: TfTensor, dtype: TfDType): TfTensor {
  const cast = tf.cast(x, dtype);
  return dtype === 'float32' && x.dtype !== 'float32' && tf.getBackend() === 'webgpu' ? tf.mul(cast, tf.scalar(1)) : cast;
}

/** NumPy's broadcast of shapes. */
export function broadcast(call: Call, shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    const sizes = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1).filter((size) => size !== 1);
    if (sizes.some((size) => size !== sizes[0])) throw failed(call, 'the shapes do not broadcast.');
    return sizes[0] ?? 1;
  });
}
