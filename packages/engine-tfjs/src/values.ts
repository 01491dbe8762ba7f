/**
 * A tensor of a run: on the device, in JavaScript memory, or both. Small integers that say shapes stay with JavaScript until a kernel
 * wants them on the device, so that no run waits for a device to tell a shape. TensorFlow.js has float32, int32 and bool: all other
 * dtypes are held in the nearest of them, and integers that int32 cannot hold are refused.
 */
import type { Tensor as TfTensor, TypedArray as TfArray } from '@tensorflow/tfjs-core';
import type { DType, TensorData, TypedArray } from '@querent/core';
import { QuerentError, allocate } from '@querent/core';
import { bfloat16ToFloat32, float16ToFloat32 } from './half.ts';
import type { Tf, TfDType } from './tf.ts';

/** How a dtype is held: float16, bfloat16 and float64 as float32; all integers as int32. */
export function heldAs(dtype: DType): TfDType {
  switch (dtype) {
    case 'float32':
    case 'float16':
    case 'bfloat16':
    case 'float64':
      return 'float32';
    case 'bool':
      return 'bool';
    default:
      return 'int32';
  }
}

/** See the file header. */
export class Value {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly #tf: Tf;
  #tensor: TfTensor | undefined;
  #numbers: readonly number[] | undefined;
  readonly #data: TensorData | undefined;

  constructor(tf: Tf, dtype: DType, shape: readonly number[], from: { readonly tensor?: TfTensor; readonly numbers?: readonly number[]; readonly data?: TensorData }) {
    this.#tf = tf;
    this.dtype = dtype;
    this.shape = shape;
    this.#tensor = from.tensor;
    this.#numbers = from.numbers;
    this.#data = from.data;
  }

  /** The tensor on the device: uploaded at the first call, kept until {@link dispose}. */
  get tensor(): TfTensor {
    this.#tensor ??= this.#tf.keep(upload(this.#tf, this.#data ?? { dtype: this.dtype, shape: this.shape, data: this.#numbers ?? [] }));
    return this.#tensor;
  }

  /** Row-major numbers, where JavaScript has them. */
  get numbers(): readonly number[] | undefined {
    if (this.#numbers === undefined && this.#data !== undefined) this.#numbers = Array.from(this.#data.data, Number);
    return this.#numbers;
  }

  /** Is the tensor on the device already? */
  get isUploaded(): boolean {
    return this.#tensor !== undefined;
  }

  dispose(): void {
    this.#tensor?.dispose();
    this.#tensor = undefined;
  }
}

interface Numbers {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedArray | readonly number[];
}

const INT32_MAX = 2 ** 31 - 1;

/** A tensor on the device; the caller disposes it. @throws QuerentError QRT_ENGINE_FEED for an integer beyond int32. */
export function upload(tf: Tf, { dtype, shape, data }: Numbers): TfTensor {
  // A backend in JavaScript keeps the array itself, which is the caller's: it is copied wherever the conversion has not done so.
  return tf.tensor(toTfArray(dtype, data), [...shape], heldAs(dtype));
}

function toTfArray(dtype: DType, data: TypedArray | readonly number[]): TfArray {
  switch (dtype) {
    case 'float32':
    case 'float64':
      return Float32Array.from(data as ArrayLike<number>); // these dtypes lie in arrays of numbers
    case 'float16':
      return data instanceof Uint16Array ? float16ToFloat32(data) : Float32Array.from(data as readonly number[]); // numbers of ours are decoded already
    case 'bfloat16':
      return data instanceof Uint16Array ? bfloat16ToFloat32(data) : Float32Array.from(data as readonly number[]);
    case 'bool':
      return Uint8Array.from(data as ArrayLike<number>);
    case 'int64':
      return toInt32(data);
    default:
      return Int32Array.from(data as ArrayLike<number>);
  }
}

function toInt32(data: TypedArray | readonly number[]): Int32Array {
  const held = new Int32Array(data.length);
  for (let i = 0; i < held.length; i++) {
    const number = Number(data[i]);
    if (number > INT32_MAX || number < -INT32_MAX - 1) {
      throw new QuerentError('QRT_ENGINE_FEED', `The int64 value ${data[i]} at place ${i} is beyond int32, which is all that TensorFlow.js has.`, { fix: 'Run this graph on onnxruntime.' });
    }
    held[i] = number;
  }
  return held;
}

/** What was read from the device, as an array of `dtype`; its own memory where `copy` is set. */
export function fromTfArray(dtype: DType, data: TfArray, copy: boolean): TypedArray {
  if (dtype === 'int64') return BigInt64Array.from(data as Int32Array, BigInt); // integers are held as int32
  const array = allocate(dtype, 0);
  if (data.constructor === array.constructor) return copy ? (data.slice() as TypedArray) : (data as TypedArray); // the same class
  const result = allocate(dtype, data.length);
  for (let i = 0; i < data.length; i++) result[i] = data[i]!; // lengths are equal
  return result;
}
