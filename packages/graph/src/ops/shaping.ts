/** Operators that move, select and combine elements without changing them. */
import type { Dim, Graph, Node, Shape, Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import { addDims, broadcastShapes, countElements, divideDims, printShape, subtractDims } from '../dims.ts';
import { builderOf } from '../graph.ts';
import { normaliseAxis } from '../shape.ts';
import { constantNumbers, dimOf, int, intVector, ints, op, op1, scalar, shapeVector, text } from './op.ts';

/** Reorders the axes: result axis `i` is `x`'s axis `perm[i]`. */
export function transpose(x: Tensor, perm: readonly number[]): Tensor {
  return op1('Transpose', [x], { attributes: { perm: ints(perm) } });
}

/**
 * The same elements in another shape. Dims may be numbers, names and expressions of names, and one may be -1 (the rest).
 * @throws QuerentError QRT_GRAPH_OP when the elements cannot be laid out so.
 */
export function reshape(x: Tensor, target: Shape): Tensor {
  const open = target.indexOf(-1);
  const dims = [...target];
  const total = countElements(x.shape);
  if (open >= 0) {
    const rest = divideDims(total, countElements(target.filter((_, axis) => axis !== open)));
    if (rest === undefined) throw new QuerentError('QRT_GRAPH_OP', `Reshape(${x.name}): ${printShape(x.shape)} cannot be divided into ${printShape(target)}.`);
    dims[open] = rest;
  } else if (countElements(dims) !== total) {
    throw new QuerentError('QRT_GRAPH_OP', `Reshape(${x.name}): ${printShape(x.shape)} does not have the elements of ${printShape(target)}.`);
  }
  if (printShape(dims) === printShape(x.shape)) return x;
  // 0 keeps the dim at that place, one -1 is worked out by ONNX; what is left is put together at run time.
  const pattern = dims.map((dim, axis) => (typeof dim === 'number' ? dim : dim === x.shape[axis] ? 0 : -1));
  const isStatic = pattern.filter((n) => n === -1).length <= 1 && !dims.includes(0);
  const shape = isStatic ? intVector(x, pattern) : shapeVector(x, dims);
  return op1('Reshape', [x, shape], { outputs: [{ dtype: x.dtype, shape: dims }] });
}

/** Broadcasts `x` to `target`. */
export function expand(x: Tensor, target: Shape): Tensor {
  const shape = broadcastShapes(x.shape, target, 'Expand');
  if (printShape(shape) === printShape(x.shape)) return x;
  return op1('Expand', [x, shapeVector(x, target)], { outputs: [{ dtype: x.dtype, shape }] });
}

export function unsqueeze(x: Tensor, axes: readonly number[]): Tensor {
  return op1('Unsqueeze', [x, intVector(x, axes)]);
}

export function squeeze(x: Tensor, axes: readonly number[]): Tensor {
  return op1('Squeeze', [x, intVector(x, axes)]);
}

export function concat(tensors: readonly Tensor[], axis: number): Tensor {
  return tensors.length === 1 ? tensors[0]! : op1('Concat', tensors, { attributes: { axis: int(axis) } });
}

export function split(x: Tensor, axis: number, sizes: readonly number[]): Tensor[] {
  return op('Split', [x, intVector(x, sizes)], { attributes: { axis: int(axis) } });
}

/** A bound of {@link slice}: a number (negative counts from the end), a dim expression, or Infinity for the end. */
export type SliceBound = Dim;

/** Where a slice begins, kept beside the node because a symbolic bound cannot be read back from its inputs. */
const SLICE_STARTS = new WeakMap<Node, { readonly axis: number; readonly start: Dim }>();

/** The axis and first element of a Slice of one axis without steps; undefined for any other. */
export function sliceStart(node: Node): { readonly axis: number; readonly start: Dim } | undefined {
  const noted = SLICE_STARTS.get(node);
  if (noted !== undefined) return noted;
  const [x, starts, , axes, steps] = node.inputs;
  const numbers = (input: Tensor | null | undefined): readonly number[] | undefined => (input === null || input === undefined ? undefined : constantNumbers(input));
  const [start, axis] = [numbers(starts), numbers(axes) ?? [0]];
  if (x === null || x === undefined || start?.length !== 1 || (numbers(steps) ?? [1])[0] !== 1) return undefined;
  const at = normaliseAxis(axis[0]!, x.shape.length);
  return { axis: at, start: start[0]! < 0 ? addDims(x.shape[at]!, start[0]!) : start[0]! };
}

/** Elements `start` to `end` (exclusive) along one axis. */
export function slice(x: Tensor, axis: number, start: SliceBound, end: SliceBound): Tensor {
  const at = normaliseAxis(axis, x.shape.length);
  const size = x.shape[at]!;
  const resolve = (bound: SliceBound): Dim => {
    if (typeof bound === 'string') return bound;
    if (bound === Infinity) return size;
    if (bound < 0) return addDims(size, bound);
    return typeof size === 'number' ? Math.min(bound, size) : bound;
  };
  const length = subtractDims(resolve(end), resolve(start));
  if (length === size && resolve(start) === 0) return x;
  const vector = (bound: SliceBound): Tensor =>
    typeof bound === 'string' ? shapeVector(x, [bound]) : intVector(x, [bound === Infinity ? 2 ** 31 - 1 : bound]);
  const result = op1('Slice', [x, vector(start), vector(end), intVector(x, [at])], {
    outputs: [{ dtype: x.dtype, shape: x.shape.map((dim, i) => (i === at ? length : dim)) }],
  });
  SLICE_STARTS.set(builderOf(x).producer(result)!, { axis: at, start: resolve(start) });
  return result;
}

/** Rows of `x` along `axis`, picked by int64 `indices` of any shape. */
export function gather(x: Tensor, indices: Tensor, axis = 0): Tensor {
  return op1('Gather', [x, indices], { attributes: { axis: int(axis) } });
}

export function gatherElements(x: Tensor, indices: Tensor, axis: number): Tensor {
  return op1('GatherElements', [x, indices], { attributes: { axis: int(axis) } });
}

export function scatterElements(x: Tensor, indices: Tensor, updates: Tensor, axis: number, reduction: 'none' | 'add' = 'none'): Tensor {
  return op1('ScatterElements', [x, indices, updates], { attributes: { axis: int(axis), reduction: text(reduction) } });
}

/** `past` with `update` written at `writeIndices[batch]` along axis -2 (ONNX 24): a KV cache grown in place. */
export function tensorScatter(past: Tensor, update: Tensor, writeIndices: Tensor): Tensor {
  return op1('TensorScatter', [past, update, writeIndices], { attributes: { axis: int(-2) } });
}

/** Keeps the upper or lower triangle of the last two axes, the rest is zero. */
export function trilu(x: Tensor, upper: boolean, k = 0): Tensor {
  return op1('Trilu', [x, scalar(x, k, 'int64')], { attributes: { upper: int(upper ? 1 : 0) } });
}

/** The shape at run time, int64 [rank]. */
export function shapeOf(x: Tensor): Tensor {
  return op1('Shape', [x]);
}

/** int64 0 … size-1; `size` may be symbolic. */
export function range(owner: { readonly graph: Graph }, size: Dim): Tensor {
  return op1('Range', [scalar(owner, 0, 'int64'), dimOf(owner, size), scalar(owner, 1, 'int64')], {
    outputs: [{ dtype: 'int64', shape: [size] }],
  });
}

/** A float tensor of one value; dims may be symbolic. */
export function filled(owner: { readonly graph: Graph }, shape: Shape, value: number): Tensor {
  return op1('ConstantOfShape', [shapeVector(owner, shape)], {
    attributes: { value: { type: 'tensor', value: { dtype: 'float32', shape: [1], data: Float32Array.of(value) } } },
    outputs: [{ dtype: 'float32', shape }],
  });
}

/** Pads with zeros (or `value`): `before` and `after` per axis. */
export function pad(x: Tensor, before: readonly number[], after: readonly number[], value = 0): Tensor {
  return op1('Pad', [x, intVector(x, [...before, ...after]), scalar(x, value, x.dtype)], { attributes: { mode: text('constant') } });
}

/** `x` repeated along each axis. */
export function tile(x: Tensor, repeats: readonly number[]): Tensor {
  return op1('Tile', [x, intVector(x, repeats)]);
}

export function oneHot(indices: Tensor, depth: number): Tensor {
  const values = op1('Cast', [intVector(indices, [0, 1])], { attributes: { to: int(1) } });
  return op1('OneHot', [indices, scalar(indices, depth, 'int64'), values], {
    attributes: { axis: int(-1) },
    outputs: [{ dtype: 'float32', shape: [...indices.shape, depth] }],
  });
}
