/**
 * Operators that pick and place elements by index tensors. Negative indices count from the end. Whatever ONNX calls them, they become
 * TensorFlow.js's gather of rows or scatterND of rows, after the indices have been turned into places in a flat tensor: those two have
 * a kernel on every backend (unsortedSegmentSum has none on WASM).
 */
import type { Tensor as TfTensor, Tensor1D } from '@tensorflow/tfjs-core';
import type { Node } from '@querent/core';
import type { Tf } from '../tf.ts';
import { expanded } from './shaping.ts';
import type { Call, Kernels } from './call.ts';
import { axisOf, failed, input, intOf, numbersAt, optional, sizeOf, textOf, value } from './call.ts';

/** Indices on an axis of `size`, negative ones counted from the end. Where JavaScript knows them, those beyond the axis are refused unless they mean nothing. */
function onAxis(call: Call, index: number, size: number, mayLieBeyond = false): TfTensor {
  const { tf } = call;
  const known = call.inputs[index]?.numbers;
  const indices = input(call, index);
  if (known === undefined) return tf.where(tf.less(indices, 0), tf.add(indices, tf.scalar(size, 'int32')), indices);
  const wrong = known.find((n) => n < -size || n >= size);
  if (wrong !== undefined && !mayLieBeyond) throw failed(call, `index ${wrong} is outside of an axis of ${size}.`);
  return known.some((n) => n < 0) ? tf.tensor(Int32Array.from(known, (n) => (n < 0 ? n + size : n)), indices.shape, 'int32') : indices;
}

/** Elements between neighbours of each axis, in a row-major tensor. */
function stridesOf(shape: readonly number[]): number[] {
  return shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
}

/** Adds what each axis of `shape` but `axis` contributes to a place in a tensor of `target`'s shape. */
function places(tf: Tf, indices: TfTensor, target: readonly number[], axis: number): TfTensor {
  const strides = stridesOf(target);
  const own = tf.mul(indices, tf.scalar(strides[axis] ?? 1, 'int32'));
  return indices.shape.reduce<TfTensor>((sum, size, other) => {
    if (other === axis || size === 1) return sum;
    const steps = tf.mul(tf.range(0, size, 1, 'int32'), tf.scalar(strides[other] ?? 1, 'int32'));
    return tf.add(sum, tf.reshape(steps, indices.shape.map((n, i) => (i === other ? n : 1))));
  }, own);
}

function gather(call: Call): readonly TfTensor[] {
  const { tf } = call;
  const x = input(call, 0);
  const axis = axisOf(intOf(call.node, 'axis', 0), x.rank);
  const indices = onAxis(call, 1, x.shape[axis] ?? 0);
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  if (sizeOf(shape) === 0) return [tf.zeros(shape, x.dtype)];
  return [tf.reshape(tf.gather(x, tf.reshape(indices, [-1]) as Tensor1D, axis), shape)]; // one axis
}

function gatherElements(call: Call): readonly TfTensor[] {
  const { tf } = call;
  const x = input(call, 0);
  const axis = axisOf(intOf(call.node, 'axis', 0), x.rank);
  const at = places(tf, onAxis(call, 1, x.shape[axis] ?? 0), x.shape, axis);
  return [tf.reshape(tf.gather(tf.reshape(x, [-1]), tf.reshape(at, [-1]) as Tensor1D), at.shape)];
}

/** The last axis of the indices addresses the leading axes of `shape`: as places among the rows that are left. [rows] */
function rowsOf(call: Call, index: number, shape: readonly number[]): { readonly rows: TfTensor; readonly depth: number } {
  const { tf } = call;
  const indices = input(call, index);
  const depth = indices.shape.at(-1) ?? 0;
  const lead = shape.slice(0, depth);
  const sizes = tf.tensor1d(lead, 'int32');
  const counted = tf.where(tf.less(indices, 0), tf.add(indices, sizes), indices);
  const strides = tf.tensor1d(stridesOf(lead), 'int32');
  return { rows: tf.reshape(tf.sum(tf.mul(counted, strides), -1), [-1]), depth };
}

function gatherND(call: Call): readonly TfTensor[] {
  const { tf } = call;
  const x = input(call, 0);
  const { rows, depth } = rowsOf(call, 1, x.shape);
  const inner = x.shape.slice(depth);
  const picked = tf.gather(tf.reshape(x, [sizeOf(x.shape.slice(0, depth)), ...inner]), rows as Tensor1D);
  return [tf.reshape(picked, [...input(call, 1).shape.slice(0, -1), ...inner])];
}

/** Puts the rows of `updates` [n, width] into `base` [rows, width]: added, or in place of what is there. */
function scatterRows(tf: Tf, base: TfTensor, rows: TfTensor, updates: TfTensor, isAdd: boolean): TfTensor {
  const at = tf.reshape(rows, [-1, 1]);
  const [height = 0, width = 1] = base.shape;
  const spread = tf.scatterND(at, updates, [height, width]);
  if (isAdd) return tf.add(base, spread);
  const hits = tf.scatterND(at, tf.onesLike(updates), [height, width]);
  return tf.where(tf.greater(hits, tf.zerosLike(hits)), spread, base);
}

const reductionOf = (node: Node): string => textOf(node, 'reduction', 'none');
const onlySums = (node: Node): string | undefined => (['none', 'add'].includes(reductionOf(node)) ? undefined : `reduction ${reductionOf(node)} is not known.`);

/** Bools are scattered as integers. */
function scattered(call: Call, base: TfTensor, rows: TfTensor, updates: TfTensor, width: number): TfTensor {
  const { tf } = call;
  const number = (x: TfTensor): TfTensor => (x.dtype === 'bool' ? tf.cast(x, 'int32') : x);
  if (updates.size === 0) return tf.clone(base);
  const result = scatterRows(tf, tf.reshape(number(base), [-1, width]), rows, tf.reshape(number(updates), [-1, width]), reductionOf(call.node) === 'add');
  return tf.reshape(result, base.shape);
}

function scatterElements(call: Call): readonly TfTensor[] {
  const x = input(call, 0);
  const axis = axisOf(intOf(call.node, 'axis', 0), x.rank);
  const at = places(call.tf, onAxis(call, 1, x.shape[axis] ?? 0), x.shape, axis);
  return [scattered(call, x, at, input(call, 2), 1)];
}

function scatterND(call: Call): readonly TfTensor[] {
  const x = input(call, 0);
  const { rows, depth } = rowsOf(call, 1, x.shape);
  return [scattered(call, x, rows, input(call, 2), sizeOf(x.shape.slice(depth)))];
}

/** Writes `update` into `past` from `writeIndices[batch]` on, along `axis` (ONNX 24). */
function tensorScatter(call: Call): readonly TfTensor[] {
  const { tf } = call;
  const [past, update, writeIndices] = [input(call, 0), input(call, 1), optional(call, 2)];
  const axis = axisOf(intOf(call.node, 'axis', -2), past.rank);
  const size = past.shape[axis] ?? 0;
  const lead = update.shape.slice(0, axis + 1); // [batch, …, new]
  const steps = tf.reshape(tf.range(0, update.shape[axis] ?? 0, 1, 'int32'), lead.map((n, i) => (i === axis ? n : 1)));
  const from = writeIndices === undefined ? steps : tf.add(steps, tf.reshape(writeIndices, lead.map((n, i) => (i === 0 ? n : 1))));
  const positions = textOf(call.node, 'mode', 'linear') === 'circular' ? tf.mod(from, tf.scalar(size, 'int32')) : from;
  const rows = places(tf, expanded(call, positions, lead), past.shape.slice(0, axis + 1), axis);
  return [scattered(call, past, tf.reshape(rows, [-1]), update, sizeOf(past.shape.slice(axis + 1)))];
}

/** `values` is [off, on]; the new axis is `axis`, by default the last. */
function oneHot(call: Call): readonly TfTensor[] {
  const { tf } = call;
  const depth = numbersAt(call, 1)[0] ?? 0;
  const indices = onAxis(call, 0, depth, true); // beyond the depth nothing is hot
  const axis = axisOf(intOf(call.node, 'axis', -1), indices.rank + 1);
  const held = value(call, 2).tensor.dtype;
  const [off, on] = tf.unstack(tf.cast(input(call, 2), held === 'bool' ? 'int32' : held));
  const isHot = tf.equal(tf.expandDims(indices, axis), tf.reshape(tf.range(0, depth, 1, 'int32'), Array.from({ length: indices.rank + 1 }, (_, i) => (i === axis ? depth : 1))));
  return [tf.where(isHot, on!, off!)]; // two values
}

export const INDEXING: Kernels = {
  Gather: { run: gather },
  GatherElements: { run: gatherElements },
  GatherND: { run: gatherND, refuses: (node) => (intOf(node, 'batch_dims', 0) === 0 ? undefined : 'batch_dims is not known.') },
  ScatterElements: { run: scatterElements, refuses: onlySums },
  ScatterND: { run: scatterND, refuses: onlySums },
  TensorScatter: { run: tensorScatter },
  OneHot: { run: oneHot },
};
