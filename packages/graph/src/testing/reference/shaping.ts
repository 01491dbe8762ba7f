/** Operators that move, repeat and cut elements by position. */
import { elementCount } from '@querent/core';
import type { Call, Kernels, ReferenceTensor } from './tensor.ts';
import {
  at, axisOf, broadcast, broadcastAt, build, fromTensorData, input, intOf, intsOf, numbersOf, refuse, tensorOf, textOf, withAxis,
} from './tensor.ts';

function reshape(call: Call): ReferenceTensor[] {
  const [x, target] = [input(call, 0), input(call, 1)];
  const keepsZero = intOf(call, 'allowzero', 0) === 1;
  const shape = Array.from(target.data, (n, axis) => (n === 0 && !keepsZero ? (x.shape[axis] ?? 0) : n));
  const open = shape.indexOf(-1);
  if (open >= 0) shape[open] = x.data.length / elementCount(shape.filter((_, axis) => axis !== open));
  if (elementCount(shape) !== x.data.length) throw refuse(call, `the elements do not make [${shape.join(', ')}].`);
  return [{ ...x, shape }];
}

function squeeze(call: Call): ReferenceTensor[] {
  const x = input(call, 0);
  const axes = numbersOf(call, 1, 'axes')?.map((axis) => axisOf(axis, x.shape.length));
  return [{ ...x, shape: x.shape.filter((size, axis) => (axes === undefined ? size !== 1 : !axes.includes(axis))) }];
}

function unsqueeze(call: Call): ReferenceTensor[] {
  const x = input(call, 0);
  const given = numbersOf(call, 1, 'axes') ?? [];
  const rank = x.shape.length + given.length;
  const axes = given.map((axis) => axisOf(axis, rank));
  const rest = x.shape.values();
  return [{ ...x, shape: Array.from({ length: rank }, (_, axis) => (axes.includes(axis) ? 1 : (rest.next().value ?? 1))) }];
}

function concat(call: Call): ReferenceTensor[] {
  const parts = call.inputs.map((_, i) => input(call, i));
  const first = input(call, 0);
  const axis = axisOf(intOf(call, 'axis', 0), first.shape.length);
  const total = parts.reduce((sum, part) => sum + part.shape[axis]!, 0);
  return [
    build(first.dtype, withAxis(first.shape, axis, total), (index) => {
      let position = index[axis]!;
      for (const part of parts) {
        if (position < part.shape[axis]!) return at(part, withAxis(index, axis, position));
        position -= part.shape[axis]!;
      }
      throw refuse(call, 'the sizes do not add up.');
    }),
  ];
}

function split(call: Call): ReferenceTensor[] {
  const x = input(call, 0);
  const axis = axisOf(intOf(call, 'axis', 0), x.shape.length);
  const size = x.shape[axis]!;
  const count = intOf(call, 'num_outputs', call.node.outputs.length);
  const even = Math.ceil(size / count);
  const sizes = numbersOf(call, 1, 'split') ?? Array.from({ length: count }, (_, i) => Math.min(even, size - i * even));
  let start = 0;
  return sizes.map((length) => {
    const from = start;
    start += length;
    return build(x.dtype, withAxis(x.shape, axis, length), (index) => at(x, withAxis(index, axis, index[axis]! + from)));
  });
}

/** Negative bounds count from the end; all are clamped to the axis (for a negative step to -1 … size - 1). */
function slice(call: Call): ReferenceTensor[] {
  const [x, starts, ends] = [input(call, 0), input(call, 1).data, input(call, 2).data];
  const axes = call.inputs[3]?.data ?? Float64Array.from(starts, (_, i) => i);
  const [from, steps, shape] = [x.shape.map(() => 0), x.shape.map(() => 1), [...x.shape]];
  axes.forEach((rawAxis, i) => {
    const axis = axisOf(rawAxis, x.shape.length);
    const [size, step] = [x.shape[axis]!, call.inputs[4]?.data[i] ?? 1];
    const clamp = (bound: number, low: number, high: number): number => Math.min(Math.max(bound < 0 ? bound + size : bound, low), high);
    const start = step > 0 ? clamp(starts[i]!, 0, size) : clamp(starts[i]!, 0, size - 1);
    const end = step > 0 ? clamp(ends[i]!, 0, size) : clamp(ends[i]!, -1, size - 1);
    from[axis] = start;
    steps[axis] = step;
    shape[axis] = Math.max(0, Math.ceil((end - start) / step));
  });
  return [build(x.dtype, shape, (index) => at(x, index.map((n, axis) => from[axis]! + n * steps[axis]!)))];
}

/** Pads with a value, by repeating the edge, or by mirroring without the edge. Negative pads cut. */
function pad(call: Call): ReferenceTensor[] {
  const [x, pads, value] = [input(call, 0), input(call, 1).data, call.inputs[2]?.data[0] ?? 0];
  const axes = Array.from(call.inputs[3]?.data ?? x.shape.keys(), (axis) => axisOf(axis, x.shape.length));
  const mode = textOf(call, 'mode', 'constant');
  const [before, shape] = [x.shape.map(() => 0), [...x.shape]];
  axes.forEach((axis, i) => {
    before[axis] = pads[i]!;
    shape[axis]! += pads[i]! + pads[i + axes.length]!;
  });
  return [
    build(x.dtype, shape, (index) => {
      const source = index.map((n, axis) => {
        const [position, size] = [n - before[axis]!, x.shape[axis]!];
        if (mode === 'edge') return Math.min(Math.max(position, 0), size - 1);
        if (mode === 'reflect') return position < 0 ? -position : position >= size ? 2 * (size - 1) - position : position;
        return position;
      });
      return source.some((n, axis) => n < 0 || n >= x.shape[axis]!) ? value : at(x, source);
    }),
  ];
}

function shapeOf(call: Call): ReferenceTensor[] {
  const sizes = input(call, 0).shape.slice(intOf(call, 'start', 0), call.node.attributes['end'] === undefined ? undefined : intOf(call, 'end', 0));
  return [{ dtype: 'int64', shape: [sizes.length], data: Float64Array.from(sizes) }];
}

function range(call: Call): ReferenceTensor[] {
  const [start, limit, step] = [input(call, 0), input(call, 1), input(call, 2)].map(({ data }) => data[0]!); // scalars
  const count = Math.max(0, Math.ceil((limit! - start!) / step!));
  return [build(input(call, 0).dtype, [count], ([i]) => start! + i! * step!)];
}

export const SHAPING: Kernels = {
  Reshape: reshape,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Concat: concat,
  Split: split,
  Slice: slice,
  Pad: pad,
  Shape: shapeOf,
  Range: range,
  Size: (call) => [{ dtype: 'int64', shape: [], data: Float64Array.of(input(call, 0).data.length) }],
  Flatten: (call) => {
    const x = input(call, 0);
    const axis = axisOf(intOf(call, 'axis', 1), x.shape.length);
    return [{ ...x, shape: [elementCount(x.shape.slice(0, axis)), elementCount(x.shape.slice(axis))] }];
  },
  Transpose: (call) => {
    const x = input(call, 0);
    const perm = intsOf(call, 'perm') ?? x.shape.map((_, axis) => x.shape.length - 1 - axis);
    const shape = perm.map((axis) => x.shape[axis]!);
    return [build(x.dtype, shape, (index) => at(x, x.shape.map((_, axis) => index[perm.indexOf(axis)]!)))];
  },
  Expand: (call) => {
    const x = input(call, 0);
    return [build(x.dtype, broadcast(call, [x.shape, Array.from(input(call, 1).data)]), (index) => broadcastAt(x, index))];
  },
  Tile: (call) => {
    const [x, repeats] = [input(call, 0), input(call, 1).data];
    const shape = x.shape.map((size, axis) => size * repeats[axis]!);
    return [build(x.dtype, shape, (index) => at(x, index.map((n, axis) => n % x.shape[axis]!)))];
  },
  ConstantOfShape: (call) => {
    const given = tensorOf(call, 'value');
    const value = given === undefined ? undefined : fromTensorData('value', given);
    return [build(value?.dtype ?? 'float32', Array.from(input(call, 0).data), () => value?.data[0] ?? 0)];
  },
  Trilu: (call) => {
    const [x, k, isUpper] = [input(call, 0), call.inputs[1]?.data[0] ?? 0, intOf(call, 'upper', 1) === 1];
    return [
      build(x.dtype, x.shape, (index) => {
        const diagonal = index.at(-1)! - index.at(-2)!; // matrices have two axes
        return (isUpper ? diagonal >= k : diagonal <= k) ? at(x, index) : 0;
      }),
    ];
  },
};
