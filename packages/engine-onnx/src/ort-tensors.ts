/**
 * TensorData ⇄ ort.Tensor, without copying. The one difference: where the runtime has Float16Array (Node 24),
 * onnxruntime-common uses it for float16, and we keep raw 16-bit words everywhere.
 */
import { Tensor as OrtTensor } from 'onnxruntime-node';
import type { DType, TensorData, TypedArray } from '@querent/core';
import { QuerentError } from '@querent/core';
import type { PortRules } from '@querent/graph';

/** What onnxruntime-node asks of memory. */
export const RULES: PortRules = { refusesSharedMemory: 'onnxruntime-node' };

/** An ort.Tensor over the same bytes. bfloat16 cannot enter onnxruntime-node as a feed. */
export function toOrt(name: string, tensor: TensorData): OrtTensor {
  if (tensor.dtype === 'bfloat16') {
    throw new QuerentError('QRT_ENGINE_FEED', `Input ${name} is bfloat16, which onnxruntime-node cannot take as a feed.`, {
      fix: 'Feed float32 or float16, or keep the tensor as a frozen parameter.',
    });
  }
  // The constructor's overloads pair each type with its array; TensorData pairs them already, but not in a way the overloads see.
  return new OrtTensor(tensor.dtype as 'float32', tensor.data as Float32Array, tensor.shape as number[]);
}

/** A TensorData over the bytes of an output. */
export function fromOrt(dtype: DType, tensor: OrtTensor): TensorData {
  const data = tensor.data as TypedArray; // numeric outputs only: the graph's dtypes have no strings
  if (dtype === 'float16' && !(data instanceof Uint16Array)) {
    const view = data as ArrayBufferView;
    return { dtype, shape: tensor.dims, data: new Uint16Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength / 2) };
  }
  return { dtype, shape: tensor.dims, data };
}
