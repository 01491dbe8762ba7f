/** Normalisations and the fused cross-entropy loss, each as its formula. */
import type { Tensor as TfTensor } from '@tensorflow/tfjs-core';
import { logSoftmax } from './reductions.ts';
import type { Call, Kernels } from './call.ts';
import { axisLast, axisOf, floatOf, input, intOf, optional, plain, textOf } from './call.ts';

function innerAxes(call: Call, x: TfTensor): number[] {
  const first = axisOf(intOf(call.node, 'axis', -1), x.rank);
  return [...x.shape.keys()].slice(first);
}

/** (x - μ) / √(σ² + ε) γ + β; outputs 1 and 2 are μ and 1 / √(σ² + ε). */
function layerNormalization(call: Call): readonly TfTensor[] {
  const { tf } = call;
  const [x, scale, bias] = [input(call, 0), input(call, 1), optional(call, 2)];
  const axes = innerAxes(call, x);
  const mean = tf.mean(x, axes, true);
  const centred = tf.sub(x, mean);
  const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(centred), axes, true), floatOf(call.node, 'epsilon', 1e-5)));
  const y = tf.mul(tf.mul(centred, inverse), scale);
  return [bias === undefined ? y : tf.add(y, bias), mean, inverse];
}

/** x / √(mean(x²) + ε) γ */
function rmsNormalization(call: Call): readonly TfTensor[] {
  const { tf } = call;
  const x = input(call, 0);
  const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(x), innerAxes(call, x), true), floatOf(call.node, 'epsilon', 1e-5)));
  return [tf.mul(tf.mul(x, inverse), input(call, 1)), inverse];
}

/** With the running statistics: as at inference. */
function batchNormalization(call: Call): readonly TfTensor[] {
  const { tf } = call;
  const x = input(call, 0);
  const [scale, bias, mean, variance] = [1, 2, 3, 4].map((i) => tf.reshape(input(call, i), [-1, ...x.shape.slice(2).map(() => 1)])) as [TfTensor, TfTensor, TfTensor, TfTensor]; // four in, four out
  const inverse = tf.rsqrt(tf.add(variance, floatOf(call.node, 'epsilon', 1e-5)));
  return [tf.add(tf.mul(tf.mul(tf.sub(x, mean), inverse), scale), bias)];
}

/** Scores [n, classes, d…] against labels [n, d…]: loss and log-probabilities. */
function softmaxCrossEntropyLoss(call: Call): readonly TfTensor[] {
  const { tf, node } = call;
  const [scores, labels, weights] = [input(call, 0), input(call, 1), optional(call, 2)];
  const classes = scores.shape[1] ?? 1;
  const log = logSoftmax(tf, scores, 1);
  const { there } = axisLast(scores.rank, 1);
  const rows = tf.reshape(tf.transpose(log, there), [-1, classes]); // [n × d, classes]
  const flat = tf.reshape(labels, [-1]);
  const ignored = node.attributes['ignore_index'] === undefined ? undefined : tf.equal(flat, tf.scalar(intOf(node, 'ignore_index', 0), 'int32'));
  const safe = ignored === undefined ? flat : tf.where(ignored, tf.zerosLike(flat), flat);
  const isLabel = tf.equal(tf.expandDims(safe, 1), tf.reshape(tf.range(0, classes, 1, 'int32'), [1, classes]));
  const picked = tf.sum(tf.where(isLabel, rows, tf.zerosLike(rows)), 1); // [n × d]
  const classWeight = weights === undefined ? tf.onesLike(picked) : tf.gather(weights, safe);
  const weight = ignored === undefined ? classWeight : tf.where(ignored, tf.zerosLike(classWeight), classWeight);
  const losses = tf.neg(tf.mul(weight, picked));
  const reduction = textOf(node, 'reduction', 'mean');
  if (reduction === 'none') return [tf.reshape(losses, labels.shape), log];
  return [reduction === 'sum' ? tf.sum(losses) : tf.div(tf.sum(losses), tf.sum(weight)), log];
}

export const NORMALISATION: Kernels = {
  ...plain({
    LayerNormalization: layerNormalization,
    RMSNormalization: rmsNormalization,
    SimplifiedLayerNormalization: rmsNormalization,
    SoftmaxCrossEntropyLoss: softmaxCrossEntropyLoss,
  }),
  BatchNormalization: {
    run: batchNormalization,
    refuses: (node) => (intOf(node, 'training_mode', 0) === 1 ? 'training mode is not known.' : undefined),
  },
  Dropout: {
    run: (call) => [call.tf.clone(input(call, 0)), call.tf.onesLike(input(call, 0))],
    refuses: (node) => ((node.inputs[2] ?? null) === null ? undefined : 'random masks are not known: only Dropout that does nothing.'),
  },
};
