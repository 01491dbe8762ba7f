/**
 * Tensors with bytes: what crosses between files, engines and people. The symbolic tensors of a graph are in
 * `contracts/graph.ts`; these are the concrete ones.
 */

/** Element types, by ONNX's names. */
export type DType =
  | 'float32'
  | 'float16'
  | 'bfloat16'
  | 'float64'
  | 'int64'
  | 'int32'
  | 'int8'
  | 'uint8'
  | 'bool';

/** How each dtype lies in memory: fp16 and bf16 as raw 16-bit words, bool as bytes 0 and 1. */
export interface DTypeArrays {
  float32: Float32Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
  float64: Float64Array;
  int64: BigInt64Array;
  int32: Int32Array;
  int8: Int8Array;
  uint8: Uint8Array;
  bool: Uint8Array;
}

export type TypedArray = DTypeArrays[DType];

/** A dense, row-major tensor in JavaScript memory. `data.length` is the product of `shape`. */
export interface TensorData<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: DTypeArrays[D];
}

/** A tensor that still lies in a file: little-endian, row-major, `byteLength` bytes from `offset`. */
export interface FileTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly file: string;
  readonly offset: number;
  readonly byteLength: number;
}

/** A parameter's bytes, wherever they are. */
export type ParameterData = TensorData | FileTensor;

/** Parameters by their HuggingFace name. */
export type ParameterSet = ReadonlyMap<string, ParameterData>;

/** Bytes of one element. */
export const BYTES_PER_ELEMENT: Readonly<Record<DType, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  float64: 8,
  int64: 8,
  int32: 4,
  int8: 1,
  uint8: 1,
  bool: 1,
};

const ARRAY_OF = {
  float32: Float32Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  float64: Float64Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const;

/** The product of the dims: 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const dim of shape) count *= dim;
  return count;
}

/** Is this parameter still in its file? */
export function isFileTensor(tensor: ParameterData): tensor is FileTensor {
  return 'file' in tensor;
}

/** A zero-filled array of `length` elements of `dtype`. */
export function allocate<D extends DType>(dtype: D, length: number): DTypeArrays[D] {
  return new ARRAY_OF[dtype](length) as DTypeArrays[D];
}

/** A tensor over `data`, not copied. Throws a RangeError when the length does not match the shape. */
export function tensor<D extends DType>(
  dtype: D,
  shape: readonly number[],
  data: DTypeArrays[D],
): TensorData<D> {
  if (data.length !== elementCount(shape)) {
    throw new RangeError(
      `a ${dtype} tensor [${shape.join(', ')}] holds ${elementCount(shape)} elements, the data has ${data.length}`,
    );
  }
  return { dtype, shape, data };
}

/** `float32` tensor; numbers are copied, a Float32Array is used as it is. */
export function float32(shape: readonly number[], data: Float32Array | readonly number[]): TensorData<'float32'> {
  return tensor('float32', shape, data instanceof Float32Array ? data : Float32Array.from(data));
}

/** `int64` tensor; numbers are copied, a BigInt64Array is used as it is. */
export function int64(shape: readonly number[], data: BigInt64Array | ArrayLike<number>): TensorData<'int64'> {
  return tensor('int64', shape, data instanceof BigInt64Array ? data : BigInt64Array.from(Array.from(data), BigInt));
}

/** A zero-filled tensor. */
export function zeros<D extends DType>(dtype: D, shape: readonly number[]): TensorData<D> {
  return { dtype, shape, data: allocate(dtype, elementCount(shape)) };
}

/** A typed-array view of `dtype` over raw little-endian bytes; copies only when they are not aligned. */
export function viewAs<D extends DType>(dtype: D, bytes: Uint8Array): DTypeArrays[D] {
  const width = BYTES_PER_ELEMENT[dtype];
  const aligned = bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes); // a Buffer's slice() would not copy
  const Array = ARRAY_OF[dtype] as unknown as new (b: ArrayBufferLike, o: number, n: number) => DTypeArrays[D];
  return new Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / width);
}
