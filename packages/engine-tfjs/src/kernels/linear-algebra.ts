/** Matrix products. TensorFlow.js multiplies stacks of matrices whose leading dims agree; ONNX broadcasts them first. */
import type { Tensor as TfTensor } from '@tensorflow/tfjs-core';
import type { Call, Kernels } from './call.ts';
import { broadcast, castTo, failed, floatOf, input, intOf, optional, plain, sizeOf } from './call.ts';

interface Flips {
  readonly a: boolean;
  readonly b: boolean;
}

/** numpy.matmul: vectors become a row (left) or a column (right) and lose that axis again. */
function product(call: Call, left: TfTensor, right: TfTensor, flips: Flips): TfTensor {
  const { tf } = call;
  const a = left.rank === 1 ? tf.reshape(left, [1, ...left.shape]) : left;
  const b = right.rank === 1 ? tf.reshape(right, [...right.shape, 1]) : right;
  const [leadA, leadB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const [rows, innerA] = lastTwo(a, flips.a && left.rank > 1);
  const [innerB, columns] = lastTwo(b, flips.b && right.rank > 1);
  if (innerA !== innerB) throw failed(call, 'the inner dims differ.');
  const lead = broadcast(call, [leadA, leadB]);
  const shape = [...lead, ...(left.rank === 1 ? [] : [rows]), ...(right.rank === 1 ? [] : [columns])];
  if (sizeOf(shape) === 0 || innerA === 0) return tf.zeros(shape);
  if (leadB.length === 0 && !flips.a) {
    // One matrix on the right: all rows of the stack at once.
    return tf.reshape(tf.matMul(tf.reshape(a, [-1, innerA]), b, false, flips.b), shape);
  }
  const stacked = (x: TfTensor): TfTensor => {
    const full = [...lead, ...x.shape.slice(-2)];
    const spread = sizeOf(full) === x.size ? x : tf.broadcastTo(tf.reshape(x, [...lead.map(() => 1).slice(x.rank - 2), ...x.shape]), full);
    return tf.reshape(spread, [-1, ...x.shape.slice(-2)]);
  };
  return tf.reshape(tf.matMul(stacked(a), stacked(b), flips.a, flips.b), shape);
}

function lastTwo(x: TfTensor, isFlipped: boolean): [number, number] {
  const [rows = 1, columns = 1] = x.shape.slice(-2);
  return isFlipped ? [columns, rows] : [rows, columns];
}

const flipsOf = (call: Call): Flips => ({ a: intOf(call.node, 'transA', 0) === 1, b: intOf(call.node, 'transB', 0) === 1 });

function scaled(call: Call, x: TfTensor, name: string): TfTensor {
  const factor = floatOf(call.node, name, 1);
  return factor === 1 ? x : call.tf.mul(x, factor);
}

/** The left operand as the integers 0 … 255 of DynamicQuantizeLinear, less the zero point, and what one of them stands for. */
function quantised({ tf }: Call, x: TfTensor): { readonly steps: TfTensor; readonly scale: TfTensor } {
  const [least, most] = [tf.minimum(tf.min(x), 0), tf.maximum(tf.max(x), 0)];
  const range = tf.sub(most, least);
  const scale = tf.where(tf.equal(range, 0), tf.scalar(1), tf.div(range, 255)); // zeros have no range
  const zero = tf.clipByValue(tf.round(tf.neg(tf.div(least, scale))), 0, 255);
  return { steps: tf.sub(tf.clipByValue(tf.add(tf.round(tf.div(x, scale)), zero), 0, 255), zero), scale };
}

export const LINEAR_ALGEBRA: Kernels = {
  ...plain({
    MatMul: (call) => [product(call, input(call, 0), input(call, 1), { a: false, b: false })],
    Gemm: (call) => {
      const y = scaled(call, product(call, input(call, 0), input(call, 1), flipsOf(call)), 'alpha');
      const c = optional(call, 2);
      return [c === undefined ? y : call.tf.add(y, scaled(call, c, 'beta'))];
    },
    DynamicQuantizeMatMul: (call) => {
      const { tf } = call;
      const { steps, scale } = quantised(call, input(call, 0));
      const [weight, zeros, bias] = [castTo(tf, input(call, 1), 'float32'), optional(call, 3), optional(call, 4)];
      const centred = zeros === undefined ? weight : tf.sub(weight, castTo(tf, zeros, 'float32'));
      const y = tf.mul(product(call, steps, centred, { a: false, b: false }), tf.mul(input(call, 2), scale));
      return [bias === undefined ? y : tf.add(y, bias)];
    },
  }),
  FusedMatMul: {
    refuses: (node) => (intOf(node, 'transBatchA', 0) === 1 || intOf(node, 'transBatchB', 0) === 1 ? 'transBatchA and transBatchB are not known.' : undefined),
    run: (call) => [scaled(call, product(call, input(call, 0), input(call, 1), flipsOf(call)), 'alpha')],
  },
};
