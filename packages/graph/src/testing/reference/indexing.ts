/** Operators that pick and place elements by index tensors. Negative indices count from the end. */
import type { Call, Kernels, ReferenceTensor } from './tensor.ts';
import { at, axisOf, build, eachIndex, flatIndex, input, intOf, refuse, textOf, withAxis } from './tensor.ts';

/** An index that must lie on its axis. */
function onAxis(call: Call, index: number, size: number): number {
  const position = axisOf(index, size);
  if (position < 0 || position >= size) throw refuse(call, `index ${index} is outside of an axis of ${size}.`);
  return position;
}

function gather(call: Call): ReferenceTensor[] {
  const [x, indices] = [input(call, 0), input(call, 1)];
  const axis = axisOf(intOf(call, 'axis', 0), x.shape.length);
  const rank = indices.shape.length;
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  return [
    build(x.dtype, shape, (index) => {
      const picked = onAxis(call, at(indices, index.slice(axis, axis + rank)), x.shape[axis]!);
      return at(x, [...index.slice(0, axis), picked, ...index.slice(axis + rank)]);
    }),
  ];
}

function gatherElements(call: Call): ReferenceTensor[] {
  const [x, indices] = [input(call, 0), input(call, 1)];
  const axis = axisOf(intOf(call, 'axis', 0), x.shape.length);
  return [build(x.dtype, indices.shape, (index) => at(x, withAxis(index, axis, onAxis(call, at(indices, index), x.shape[axis]!))))];
}

/** The last axis of `indices` addresses the leading axes of `x`. */
function gatherND(call: Call): ReferenceTensor[] {
  const [x, indices] = [input(call, 0), input(call, 1)];
  if (intOf(call, 'batch_dims', 0) !== 0) throw refuse(call, 'batch_dims is not known.');
  const [lead, depth] = [indices.shape.slice(0, -1), indices.shape.at(-1) ?? 0];
  return [
    build(x.dtype, [...lead, ...x.shape.slice(depth)], (index) => {
      const address = x.shape.slice(0, depth).map((size, i) => onAxis(call, at(indices, [...index.slice(0, lead.length), i]), size));
      return at(x, [...address, ...index.slice(lead.length)]);
    }),
  ];
}

function combine(call: Call): (old: number, update: number) => number {
  const reduction = textOf(call, 'reduction', 'none');
  switch (reduction) {
    case 'none':
      return (_, update) => update;
    case 'add':
      return (old, update) => old + update;
    case 'mul':
      return (old, update) => old * update;
    case 'max':
      return Math.max;
    case 'min':
      return Math.min;
    default:
      throw refuse(call, `reduction ${reduction} is not known.`);
  }
}

function scatterElements(call: Call): ReferenceTensor[] {
  const [x, indices, updates] = [input(call, 0), input(call, 1), input(call, 2)];
  const axis = axisOf(intOf(call, 'axis', 0), x.shape.length);
  const [data, f] = [x.data.slice(), combine(call)];
  eachIndex(indices.shape, (index, flat) => {
    const target = flatIndex(x.shape, withAxis(index, axis, onAxis(call, indices.data[flat]!, x.shape[axis]!)));
    data[target] = f(data[target]!, at(updates, index));
  });
  return [{ ...x, data }];
}

function scatterND(call: Call): ReferenceTensor[] {
  const [x, indices, updates] = [input(call, 0), input(call, 1), input(call, 2)];
  const [lead, depth] = [indices.shape.slice(0, -1), indices.shape.at(-1) ?? 0];
  const [data, f] = [x.data.slice(), combine(call)];
  eachIndex(updates.shape, (index, flat) => {
    const address = x.shape.slice(0, depth).map((size, i) => onAxis(call, at(indices, [...index.slice(0, lead.length), i]), size));
    const target = flatIndex(x.shape, [...address, ...index.slice(lead.length)]);
    data[target] = f(data[target]!, updates.data[flat]!);
  });
  return [{ ...x, data }];
}

/** Writes `update` into `past` from `writeIndices[batch]` on, along `axis` (ONNX 24). */
function tensorScatter(call: Call): ReferenceTensor[] {
  const [past, update, writeIndices] = [input(call, 0), input(call, 1), call.inputs[2]];
  const axis = axisOf(intOf(call, 'axis', -2), past.shape.length);
  const isCircular = textOf(call, 'mode', 'linear') === 'circular';
  const data = past.data.slice();
  eachIndex(update.shape, (index, flat) => {
    const position = (writeIndices?.data[index[0]!] ?? 0) + index[axis]!;
    const size = past.shape[axis]!;
    data[flatIndex(past.shape, withAxis(index, axis, isCircular ? position % size : onAxis(call, position, size)))] = update.data[flat]!;
  });
  return [{ ...past, data }];
}

/** `values` is [off, on]; the new axis is `axis`, by default the last. */
function oneHot(call: Call): ReferenceTensor[] {
  const [indices, values] = [input(call, 0), input(call, 2)];
  const depth = input(call, 1).data[0] ?? 0;
  const axis = axisOf(intOf(call, 'axis', -1), indices.shape.length + 1);
  const shape = [...indices.shape.slice(0, axis), depth, ...indices.shape.slice(axis)];
  return [
    build(values.dtype, shape, (index) => {
      const hot = at(indices, [...index.slice(0, axis), ...index.slice(axis + 1)]);
      return axisOf(hot, depth) === index[axis] ? values.data[1]! : values.data[0]!;
    }),
  ];
}

export const INDEXING: Kernels = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherND,
  ScatterElements: scatterElements,
  ScatterND: scatterND,
  TensorScatter: tensorScatter,
  OneHot: oneHot,
};
