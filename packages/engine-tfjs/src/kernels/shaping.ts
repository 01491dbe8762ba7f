/** Operators that move, repeat and cut elements by position. */
import type { Tensor as TfTensor } from '@tensorflow/tfjs-core';
import { heldAs } from '../values.ts';
import type { Call, Kernels } from './call.ts';
import { axisOf, broadcast, failed, input, intOf, intsOf, numbersAt, numbersOr, plain, replaced, sizeOf, tensorOf, textOf, value } from './call.ts';

function reshape(call: Call): readonly TfTensor[] {
  const x = input(call, 0);
  const keepsZero = intOf(call.node, 'allowzero', 0) === 1;
  const shape = numbersAt(call, 1).map((n, axis) => (n === 0 && !keepsZero ? (x.shape[axis] ?? 0) : n));
  const open = shape.indexOf(-1);
  if (open >= 0) shape[open] = x.size / Math.max(1, sizeOf(shape.filter((_, axis) => axis !== open)));
  if (sizeOf(shape) !== x.size) throw failed(call, `the elements do not make [${shape.join(', ')}].`);
  return [call.tf.reshape(x, shape)];
}

function squeeze(call: Call): readonly TfTensor[] {
  const x = input(call, 0);
  const axes = numbersOr(call, 1, 'axes')?.map((axis) => axisOf(axis, x.rank));
  return [call.tf.reshape(x, x.shape.filter((size, axis) => (axes === undefined ? size !== 1 : !axes.includes(axis))))];
}

function unsqueeze(call: Call): readonly TfTensor[] {
  const x = input(call, 0);
  const given = numbersOr(call, 1, 'axes') ?? [];
  const rank = x.rank + given.length;
  const axes = given.map((axis) => axisOf(axis, rank));
  const rest = x.shape.values();
  return [call.tf.reshape(x, Array.from({ length: rank }, (_, axis) => (axes.includes(axis) ? 1 : (rest.next().value ?? 1))))];
}

function concat(call: Call): readonly TfTensor[] {
  const { tf } = call;
  const parts = call.inputs.map((_, i) => input(call, i));
  const first = input(call, 0);
  const axis = axisOf(intOf(call.node, 'axis', 0), first.rank);
  const filled = parts.filter((part) => part.size > 0); // an empty cache in front of the first token
  if (filled.length === 0) return [tf.zeros(replaced(first.shape, axis, parts.reduce((sum, part) => sum + (part.shape[axis] ?? 0), 0)), heldAs(value(call, 0).dtype))];
  return [filled.length === 1 ? tf.clone(filled[0]!) : tf.concat(filled, axis)];
}

function split(call: Call): readonly TfTensor[] {
  const x = input(call, 0);
  const axis = axisOf(intOf(call.node, 'axis', 0), x.rank);
  const size = x.shape[axis] ?? 0;
  const count = intOf(call.node, 'num_outputs', call.node.outputs.length);
  const even = Math.ceil(size / count);
  const sizes = numbersOr(call, 1, 'split') ?? Array.from({ length: count }, (_, i) => Math.min(even, size - i * even));
  let start = 0;
  return sizes.map((length) => {
    const begin = replaced(x.shape.map(() => 0), axis, start);
    start += length;
    return sliced(call, x, begin, replaced(x.shape, axis, length));
  });
}

/** `tf.slice`, also where nothing is left. */
function sliced(call: Call, x: TfTensor, begin: readonly number[], size: readonly number[]): TfTensor {
  if (sizeOf(size) === 0) return call.tf.zeros([...size], heldAs(x.dtype === 'float32' ? 'float32' : x.dtype === 'bool' ? 'bool' : 'int32'));
  if (size.every((n, axis) => n === x.shape[axis])) return call.tf.clone(x);
  return call.tf.slice(x, [...begin], [...size]);
}

/** Negative bounds count from the end; all are clamped to the axis (for a negative step to -1 … size - 1). Steps pick by index. */
function slice(call: Call): readonly TfTensor[] {
  const { tf } = call;
  const x = input(call, 0);
  const [starts, ends] = [numbersAt(call, 1), numbersAt(call, 2)];
  const axes = call.inputs[3] === undefined ? [...starts.keys()] : numbersAt(call, 3);
  const given = call.inputs[4] === undefined ? starts.map(() => 1) : numbersAt(call, 4);
  const [begin, size] = [x.shape.map(() => 0), [...x.shape]];
  const stepped: { readonly axis: number; readonly indices: number[] }[] = [];
  axes.forEach((rawAxis, i) => {
    const axis = axisOf(rawAxis, x.rank);
    const [length, step] = [x.shape[axis] ?? 0, given[i] ?? 1];
    const clamp = (bound: number, low: number, high: number): number => Math.min(Math.max(bound < 0 ? bound + length : bound, low), high);
    const start = step > 0 ? clamp(starts[i] ?? 0, 0, length) : clamp(starts[i] ?? 0, 0, length - 1);
    const end = step > 0 ? clamp(ends[i] ?? 0, 0, length) : clamp(ends[i] ?? 0, -1, length - 1);
    const count = Math.max(0, Math.ceil((end - start) / step));
    if (step === 1) {
      begin[axis] = start;
      size[axis] = count;
    } else stepped.push({ axis, indices: Array.from({ length: count }, (_, n) => start + n * step) });
  });
  const cut = sliced(call, x, begin, size);
  return [stepped.reduce((y, { axis, indices }) => (indices.length === 0 ? tf.zeros(replaced(y.shape, axis, 0), heldAs(value(call, 0).dtype)) : tf.gather(y, tf.tensor1d(indices, 'int32'), axis)), cut)];
}

/** Pads with a value, by repeating the edge, or by mirroring without the edge. Negative pads cut. */
function pad(call: Call): readonly TfTensor[] {
  const { tf } = call;
  const x = input(call, 0);
  const pads = numbersAt(call, 1);
  const axes = call.inputs[3] === undefined ? [...x.shape.keys()] : numbersAt(call, 3).map((axis) => axisOf(axis, x.rank));
  const paddings = x.shape.map((): [number, number] => [0, 0]);
  axes.forEach((axis, i) => (paddings[axis] = [pads[i] ?? 0, pads[i + axes.length] ?? 0]));
  const begin = paddings.map(([before]) => Math.max(0, -before));
  const cut = sliced(call, x, begin, x.shape.map((size, axis) => size + Math.min(0, paddings[axis]![0]) + Math.min(0, paddings[axis]![1])));
  const grown = paddings.map(([before, after]): [number, number] => [Math.max(0, before), Math.max(0, after)]);
  switch (textOf(call.node, 'mode', 'constant')) {
    case 'reflect':
      return [tf.mirrorPad(cut, grown, 'reflect')];
    case 'edge':
      return [grown.reduce((y, [before, after], axis) => repeatEdges(call, y, axis, before, after), cut)];
    default: {
      const filler = call.inputs[2] === undefined ? 0 : (numbersAt(call, 2)[0] ?? 0);
      return [cut.dtype === 'bool' ? tf.pad(tf.cast(cut, 'int32'), grown, filler) : tf.pad(cut, grown, filler)];
    }
  }
}

function repeatEdges(call: Call, x: TfTensor, axis: number, before: number, after: number): TfTensor {
  if (before === 0 && after === 0) return x;
  const size = x.shape[axis] ?? 1;
  const indices = Array.from({ length: before + size + after }, (_, i) => Math.min(Math.max(i - before, 0), size - 1));
  return call.tf.gather(x, call.tf.tensor1d(indices, 'int32'), axis);
}

/** Repeats `x` to `shape`, which its own broadcasts to. */
export function expanded(call: Call, x: TfTensor, shape: readonly number[]): TfTensor {
  const { tf } = call;
  if (sizeOf(shape) === 0) return tf.zeros([...shape], x.dtype);
  if (x.rank === shape.length && x.shape.every((size, axis) => size === shape[axis])) return tf.clone(x);
  return tf.broadcastTo(x, [...shape] as [number, number]); // any rank
}

/** A bool matrix that is true where an element stays. */
function triangle(call: Call): readonly TfTensor[] {
  const { tf, node } = call;
  const x = input(call, 0);
  const [rows = 1, columns = 1] = x.shape.slice(-2);
  const k = call.inputs[1] === undefined ? 0 : (numbersAt(call, 1)[0] ?? 0);
  const diagonal = tf.sub(tf.reshape(tf.range(0, columns, 1, 'int32'), [1, columns]), tf.reshape(tf.range(0, rows, 1, 'int32'), [rows, 1]));
  const limit = tf.scalar(k, 'int32');
  const stays = intOf(node, 'upper', 1) === 1 ? tf.greaterEqual(diagonal, limit) : tf.lessEqual(diagonal, limit);
  if (x.dtype === 'bool') return [tf.logicalAnd(x, stays)];
  return [tf.where(stays, x, tf.zerosLike(x))];
}

/** WebGPU's transpose is of floats only: its shader does not compile for integers. They are picked by their places instead. */
function transposedIntegers({ tf }: Call, x: TfTensor, order: readonly number[]): TfTensor {
  const shape = order.map((axis) => x.shape[axis] ?? 1);
  const strides = order.map((axis) => sizeOf(x.shape.slice(axis + 1)));
  const places = Int32Array.from({ length: x.size }, (_, place) => {
    let [rest, from] = [place, 0];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += (rest % shape[axis]!) * strides[axis]!;
      rest = Math.floor(rest / shape[axis]!);
    }
    return from;
  });
  return tf.reshape(tf.gather(tf.reshape(tf.cast(x, 'int32'), [-1]), tf.tensor1d(places, 'int32')), shape);
}

export const SHAPING: Kernels = plain({
  Reshape: reshape,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Concat: concat,
  Split: split,
  Slice: slice,
  Pad: pad,
  Flatten: (call) => {
    const x = input(call, 0);
    const axis = axisOf(intOf(call.node, 'axis', 1), x.rank);
    return [call.tf.reshape(x, [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis))])];
  },
  Transpose: (call) => {
    const x = input(call, 0);
    const order = intsOf(call.node, 'perm') ?? x.shape.map((_, axis) => x.rank - 1 - axis);
    const isFloat = x.dtype === 'float32' || call.tf.getBackend() !== 'webgpu';
    return [isFloat ? call.tf.transpose(x, [...order]) : transposedIntegers(call, x, order)];
  },
  Expand: (call) => {
    const x = input(call, 0);
    return [expanded(call, x, broadcast(call, [x.shape, numbersAt(call, 1)]))];
  },
  Tile: (call) => [call.tf.tile(input(call, 0), [...numbersAt(call, 1)])],
  Range: (call) => {
    const [start = 0, limit = 0, step = 1] = [0, 1, 2].map((i) => numbersAt(call, i)[0]);
    const count = Math.max(0, Math.ceil((limit - start) / step));
    const held = heldAs(value(call, 0).dtype) === 'float32' ? 'float32' : 'int32';
    return [count === 0 ? call.tf.zeros([0], held) : call.tf.range(start, start + (held === 'int32' ? count : count - 0.5) * step, step, held)];
  },
  ConstantOfShape: (call) => {
    const given = tensorOf(call.node, 'value');
    const held = heldAs(given?.dtype ?? 'float32');
    return [call.tf.fill([...numbersAt(call, 0)], Number(given?.data[0] ?? 0), held === 'bool' ? 'int32' : held)];
  },
  Trilu: triangle,
});
