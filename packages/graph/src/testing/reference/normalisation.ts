/** Normalisations and the fused cross-entropy loss. */
import type { Call, Kernel, Kernels, ReferenceTensor } from './tensor.ts';
import { at, axisOf, broadcastAt, build, eachIndex, floatOf, input, intOf, refuse, textOf } from './tensor.ts';
import { lineOf } from './reductions.ts';

/** Mean and mean square over the axes from `axis` on, for each position of the axes before. */
function moments(x: ReferenceTensor, axis: number): { mean: ReferenceTensor; variance: ReferenceTensor; meanSquare: ReferenceTensor } {
  const statistic = (f: (values: readonly number[]) => number): ReferenceTensor =>
    build('float32', x.shape.map((size, i) => (i < axis ? size : 1)), (index) => {
      const values: number[] = [];
      eachIndex(x.shape.slice(axis), (inner) => values.push(at(x, [...index.slice(0, axis), ...inner])));
      return f(values);
    });
  const average = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  return {
    mean: statistic(average),
    variance: statistic((values) => {
      const mean = average(values);
      return average(values.map((value) => (value - mean) ** 2));
    }),
    meanSquare: statistic((values) => average(values.map((value) => value * value))),
  };
}

const inverseRoot = (x: ReferenceTensor, epsilon: number): ReferenceTensor => ({ ...x, data: x.data.map((v) => 1 / Math.sqrt(v + epsilon)) });

function layerNormalization(call: Call): ReferenceTensor[] {
  const [x, scale, bias] = [input(call, 0), input(call, 1), call.inputs[2]];
  const { mean, variance } = moments(x, axisOf(intOf(call, 'axis', -1), x.shape.length));
  const inverse = inverseRoot(variance, floatOf(call, 'epsilon', 1e-5));
  const y = build(x.dtype, x.shape, (index) => {
    const normal = (at(x, index) - broadcastAt(mean, index)) * broadcastAt(inverse, index);
    return normal * broadcastAt(scale, index) + (bias === undefined ? 0 : broadcastAt(bias, index));
  });
  return [y, mean, inverse];
}

const rmsNormalization: Kernel = (call) => {
  const [x, scale] = [input(call, 0), input(call, 1)];
  const { meanSquare } = moments(x, axisOf(intOf(call, 'axis', -1), x.shape.length));
  const inverse = inverseRoot(meanSquare, floatOf(call, 'epsilon', 1e-5));
  return [build(x.dtype, x.shape, (index) => at(x, index) * broadcastAt(inverse, index) * broadcastAt(scale, index)), inverse];
};

/** With the running statistics: as at inference. */
function batchNormalization(call: Call): ReferenceTensor[] {
  if (intOf(call, 'training_mode', 0) === 1) throw refuse(call, 'training mode is not known.');
  const [x, scale, bias, mean, variance] = [0, 1, 2, 3, 4].map((i) => input(call, i));
  const inverse = inverseRoot(variance!, floatOf(call, 'epsilon', 1e-5)); // five inputs were just read
  return [
    build(x!.dtype, x!.shape, (index) => {
      const channel = index[1] ?? 0;
      return (at(x!, index) - mean!.data[channel]!) * inverse.data[channel]! * scale!.data[channel]! + bias!.data[channel]!;
    }),
  ];
}

/** Scores [n, classes, d…] against labels [n, d…]: loss and log-probabilities. */
function softmaxCrossEntropyLoss(call: Call): ReferenceTensor[] {
  const [scores, labels, weights] = [input(call, 0), input(call, 1), call.inputs[2]];
  const ignored = call.node.attributes['ignore_index'] === undefined ? undefined : intOf(call, 'ignore_index', 0);
  const logProbabilities = build(scores.dtype, scores.shape, (index) => {
    const line = lineOf(scores, 1, index);
    const top = Math.max(...line);
    return at(scores, index) - top - Math.log(line.reduce((sum, value) => sum + Math.exp(value - top), 0));
  });
  const weightAt = (index: readonly number[]): number => {
    const label = at(labels, index);
    return label === ignored ? 0 : (weights?.data[label] ?? 1);
  };
  const losses = build(scores.dtype, labels.shape, (index) => {
    const weight = weightAt(index);
    const [n, ...rest] = index;
    return weight === 0 ? 0 : -weight * at(logProbabilities, [n!, at(labels, index), ...rest]); // labels have an axis
  });
  const reduction = textOf(call, 'reduction', 'mean');
  if (reduction === 'none') return [losses, logProbabilities];
  const total = losses.data.reduce((a, b) => a + b, 0);
  const weight = build('float32', labels.shape, weightAt).data.reduce((a, b) => a + b, 0);
  return [{ dtype: scores.dtype, shape: [], data: Float64Array.of(reduction === 'sum' ? total : total / weight) }, logProbabilities];
}

export const NORMALISATION: Kernels = {
  LayerNormalization: layerNormalization,
  RMSNormalization: rmsNormalization,
  SimplifiedLayerNormalization: rmsNormalization,
  BatchNormalization: batchNormalization,
  SoftmaxCrossEntropyLoss: softmaxCrossEntropyLoss,
  Dropout: (call) => {
    const [x, ratio, training] = [input(call, 0), call.inputs[1]?.data[0] ?? 0.5, call.inputs[2]?.data[0] ?? 0];
    if (training !== 0 && ratio !== 0) throw refuse(call, 'random masks are not known.');
    return [x, build('bool', x.shape, () => 1)];
  },
};
