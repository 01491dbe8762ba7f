/** Resize (ONNX 19): separable, so one matrix product for each axis. The weights are the reference's, for an identity matrix. */
import type { Tensor as TfTensor } from '@tensorflow/tfjs-core';
import { REFERENCE_KERNELS } from '@querent/graph';
import type { Call, Kernels } from './call.ts';
import { axisLast, axisOf, failed, input, intsOf, numbersAt, textOf } from './call.ts';

/** [out, size]: the share of each input in each output along one axis. */
function weightsOf(call: Call, size: number, scale: number | undefined, out: number | undefined): TfTensor {
  const vector = (value: number | undefined): { dtype: 'float32'; shape: number[]; data: Float64Array } | undefined =>
    value === undefined ? undefined : { dtype: 'float32', shape: [1], data: Float64Array.of(value) };
  const identity = Float64Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0));
  const node = { ...call.node, attributes: { ...call.node.attributes, axes: { type: 'ints', value: [0] } as const } };
  const [weights] = REFERENCE_KERNELS['Resize']?.({ node, inputs: [{ dtype: 'float32', shape: [size, size], data: identity }, undefined, vector(scale), vector(out)] }) ?? [];
  if (weights === undefined) throw failed(call, 'the reference has no Resize.');
  return call.tf.tensor(Float32Array.from(weights.data), [...weights.shape]);
}

export const RESIZE: Kernels = {
  Resize: {
    refuses: (node) => (textOf(node, 'keep_aspect_ratio_policy', 'stretch') === 'stretch' ? undefined : 'only stretching is known.'),
    run: (call) => {
      const { tf } = call;
      const x = input(call, 0);
      const read = (index: number): readonly number[] => (call.inputs[index] === undefined ? [] : numbersAt(call, index));
      const [scales, sizes] = [read(2), read(3)];
      const axes = (intsOf(call.node, 'axes') ?? [...x.shape.keys()]).map((axis) => axisOf(axis, x.rank));
      return [
        axes.reduce((y, axis, i) => {
          const size = y.shape[axis] ?? 1;
          if ((sizes[i] ?? size) === size && (scales[i] ?? 1) === 1) return y;
          const weights = weightsOf(call, size, scales[i], sizes[i]);
          const { there, back } = axisLast(y.rank, axis);
          const moved = tf.transpose(y, there);
          const resized = tf.matMul(tf.reshape(moved, [-1, size]), weights, false, true);
          return tf.transpose(tf.reshape(resized, [...moved.shape.slice(0, -1), weights.shape[0] ?? 0]), back);
        }, x),
      ];
    },
  },
};
