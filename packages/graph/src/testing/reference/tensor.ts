/** The reference interpreter's tensors: float64 whatever the dtype, walked by plain multi-indices. */
import type { DType, Node, ParameterData, TensorData } from '@querent/core';
import { QuerentError, elementCount, isFileTensor } from '@querent/core';

/** Any tensor as float64, row-major. `dtype` says what it stands for: integers divide and cast as integers. */
export interface ReferenceTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** One operator with its inputs at hand. */
export interface Call {
  readonly node: Node;
  readonly inputs: readonly (ReferenceTensor | undefined)[];
}

/** An operator's outputs, in ONNX's order. */
export type Kernel = (call: Call) => readonly ReferenceTensor[];

export type Kernels = Readonly<Record<string, Kernel>>;

/** The reference does not do this: said with the operator's name. */
export function refuse(call: Call, problem: string): QuerentError {
  const given = call.inputs.map((x) => (x === undefined ? '(none)' : `${x.dtype} [${x.shape.join(', ')}]`)).join(', ');
  return new QuerentError('QRT_ENGINE_RUN', `The reference cannot compute ${call.node.opType}(${given}) of node ${call.node.name}: ${problem}`);
}

export function input(call: Call, index: number): ReferenceTensor {
  const tensor = call.inputs[index];
  if (tensor === undefined) throw refuse(call, `input ${index} is missing.`);
  return tensor;
}

export function intOf(call: Call, name: string, fallback: number): number {
  const attribute = call.node.attributes[name];
  return attribute?.type === 'int' ? attribute.value : fallback;
}

export function floatOf(call: Call, name: string, fallback: number): number {
  const attribute = call.node.attributes[name];
  return attribute?.type === 'float' ? attribute.value : fallback;
}

export function textOf(call: Call, name: string, fallback: string): string {
  const attribute = call.node.attributes[name];
  return attribute?.type === 'string' ? attribute.value : fallback;
}

export function intsOf(call: Call, name: string): readonly number[] | undefined {
  const attribute = call.node.attributes[name];
  return attribute?.type === 'ints' ? attribute.value : undefined;
}

export function tensorOf(call: Call, name: string): TensorData | undefined {
  const attribute = call.node.attributes[name];
  return attribute?.type === 'tensor' ? attribute.value : undefined;
}

/** Numbers from an input (newer opsets) or else from an attribute (older ones). */
export function numbersOf(call: Call, index: number, name: string): readonly number[] | undefined {
  const given = call.inputs[index];
  return given === undefined ? intsOf(call, name) : Array.from(given.data);
}

/** A negative axis counts from the end. */
export function axisOf(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

/** Calls `visit` with each multi-index of `shape`, the last axis fastest. The array is reused. */
export function eachIndex(shape: readonly number[], visit: (index: readonly number[], flat: number) => void): void {
  const index = shape.map(() => 0);
  const count = elementCount(shape);
  for (let flat = 0; flat < count; flat++) {
    visit(index, flat);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]! += 1;
      if (index[axis]! < shape[axis]!) break;
      index[axis] = 0;
    }
  }
}

/** Where a multi-index lies in memory. */
export function flatIndex(shape: readonly number[], index: readonly number[]): number {
  let flat = 0;
  for (let axis = 0; axis < shape.length; axis++) flat = flat * shape[axis]! + index[axis]!;
  return flat;
}

export function at(x: ReferenceTensor, index: readonly number[]): number {
  return x.data[flatIndex(x.shape, index)]!;
}

/** The element that broadcasting puts at `index`, which may have more axes than `x`. */
export function broadcastAt(x: ReferenceTensor, index: readonly number[]): number {
  const skipped = index.length - x.shape.length;
  let flat = 0;
  for (let axis = 0; axis < x.shape.length; axis++) {
    const size = x.shape[axis]!;
    flat = flat * size + (size === 1 ? 0 : index[axis + skipped]!);
  }
  return x.data[flat]!;
}

/** A tensor whose element at `index` is `value(index)`. */
export function build(dtype: DType, shape: readonly number[], value: (index: readonly number[]) => number): ReferenceTensor {
  const data = new Float64Array(elementCount(shape));
  eachIndex(shape, (index, flat) => (data[flat] = value(index)));
  return { dtype, shape, data };
}

/** NumPy's broadcast of shapes. */
export function broadcast(call: Call, shapes: readonly (readonly number[])[]): readonly number[] {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    const sizes = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1).filter((size) => size !== 1);
    if (sizes.some((size) => size !== sizes[0])) throw refuse(call, 'the shapes do not broadcast.');
    return sizes[0] ?? 1;
  });
}

/** `index` with `value` at `axis`. */
export function withAxis(index: readonly number[], axis: number, value: number): number[] {
  return index.map((old, i) => (i === axis ? value : old));
}

export function isInteger(dtype: DType): boolean {
  return dtype === 'int64' || dtype === 'int32' || dtype === 'int8' || dtype === 'uint8';
}

/** IEEE half precision (1 sign, 5 exponent, 10 fraction bits) to a number. */
function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 0x1f, bits & 0x3ff];
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** A float32's upper half to a number. */
function fromBrain(bits: number): number {
  const word = new DataView(new ArrayBuffer(4));
  word.setUint32(0, bits << 16);
  return word.getFloat32(0);
}

/** Bytes in memory as float64. Integers beyond 2^53 lose digits. */
export function fromTensorData(name: string, data: ParameterData): ReferenceTensor {
  if (isFileTensor(data)) {
    throw new QuerentError('QRT_USAGE', `Parameter ${name} lies in ${data.file}; the reference reads no files.`, { fix: 'Load it into memory first.' });
  }
  const { dtype, shape } = data;
  const decode = dtype === 'float16' ? fromHalf : dtype === 'bfloat16' ? fromBrain : undefined;
  if (data.data instanceof BigInt64Array) return { dtype, shape, data: Float64Array.from(data.data, Number) };
  return { dtype, shape, data: decode === undefined ? Float64Array.from(data.data) : Float64Array.from(data.data, decode) };
}
