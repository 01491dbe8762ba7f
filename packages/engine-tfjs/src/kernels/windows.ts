/**
 * Sliding windows in two dimensions (one is a row of height 1): convolution, its transpose, pooling. ONNX has channels before space,
 * TensorFlow.js behind it, so each transposes on the way in and out; padding is done beforehand. A transposed convolution is a convolution
 * of the input with zeros between its elements, by the mirrored kernel.
 */
import type { Tensor as TfTensor, Tensor4D } from '@tensorflow/tfjs-core';
import type { Node } from '@querent/core';
import type { Call, Kernel, KernelEntry, Kernels } from './call.ts';
import { failed, input, intOf, intsOf, optional, plain, textOf } from './call.ts';

type Pair = readonly [number, number];

interface Windows {
  readonly strides: Pair;
  readonly dilations: Pair;
  /** Before and after, for height and width. */
  readonly pads: readonly [Pair, Pair];
}

function windowsOf(node: Node, spatial: number): Windows {
  const pair = (values: readonly number[] | undefined, filler: number): Pair => {
    const given = values ?? new Array<number>(spatial).fill(filler);
    return spatial === 1 ? [filler, given[0] ?? filler] : [given[0] ?? filler, given[1] ?? filler];
  };
  const pads = intsOf(node, 'pads') ?? new Array<number>(2 * spatial).fill(0);
  const [before, after] = [pair(pads.slice(0, spatial), 0), pair(pads.slice(spatial), 0)];
  return { strides: pair(intsOf(node, 'strides'), 1), dilations: pair(intsOf(node, 'dilations'), 1), pads: [[before[0], after[0]], [before[1], after[1]]] };
}

/** [batch, channels, space…] → [batch, height, width, channels] */
function channelsLast(call: Call, x: TfTensor): Tensor4D {
  const { tf } = call;
  const image = x.rank === 3 ? tf.expandDims(x, 2) : x;
  return tf.transpose(image, [0, 2, 3, 1]) as Tensor4D; // rank 3 or 4, checked at compile time
}

function channelsFirst(call: Call, y: TfTensor, rank: number): TfTensor {
  const back = call.tf.transpose(y, [0, 3, 1, 2]);
  return rank === 3 ? call.tf.squeeze(back, [2]) : back;
}

/** Zeros (or `filler`) around an image; negative pads cut. */
function padded(call: Call, x: Tensor4D, [[top, bottom], [left, right]]: Windows['pads'], filler = 0): Tensor4D {
  const { tf } = call;
  const cut = [top, bottom, left, right].map((n) => Math.max(0, -n)) as [number, number, number, number]; // four in, four out
  const [batch, height, width, channels] = x.shape;
  const kept = cut.every((n) => n === 0) ? x : (tf.slice(x, [0, cut[0], cut[2], 0], [batch, height - cut[0] - cut[1], width - cut[2] - cut[3], channels]) as Tensor4D); // keeps the rank
  const grown = [top, bottom, left, right].map((n) => Math.max(0, n)) as [number, number, number, number]; // likewise
  if (grown.every((n) => n === 0)) return kept;
  return tf.pad(kept, [[0, 0], [grown[0], grown[1]], [grown[2], grown[3]], [0, 0]], filler) as Tensor4D;
}

/** `count - 1` zeros between neighbours along axes `first` and `first + 1` of a tensor of four axes. */
function spreadOut(call: Call, x: TfTensor, first: number, [rows, columns]: Pair): TfTensor {
  const { tf } = call;
  const between = (y: TfTensor, axis: number, count: number): TfTensor => {
    if (count === 1) return y;
    const [before, size, after] = [y.shape.slice(0, axis), y.shape[axis] ?? 1, y.shape.slice(axis + 1)];
    const flat = tf.reshape(y, [before.reduce((a, b) => a * b, 1) * size, 1, after.reduce((a, b) => a * b, 1)]);
    const zeros = tf.zeros([flat.shape[0] ?? 0, count - 1, flat.shape[2] ?? 0]);
    const wide = tf.reshape(tf.concat([flat, zeros], 1), [...before, size * count, ...after]);
    return tf.slice(wide, wide.shape.map(() => 0), wide.shape.map((n, i) => (i === axis ? n - count + 1 : n)));
  };
  return between(between(x, first, rows), first + 1, columns);
}

/** Every `stride`-th row and column. */
function everyNth(call: Call, y: Tensor4D, [rows, columns]: Pair): Tensor4D {
  const { tf } = call;
  const pick = (x: TfTensor, axis: number, step: number): TfTensor => (step === 1 ? x : tf.gather(x, tf.range(0, x.shape[axis] ?? 0, step, 'int32'), axis));
  return pick(pick(y, 1, rows), 2, columns) as Tensor4D; // keeps the rank
}

/** x [batch, height, width, channels], already padded; w [out, channels / group, kernel…] of ONNX → [batch, height, width, out] */
function convolve(call: Call, x: Tensor4D, weights: TfTensor, group: number, strides: Pair, dilations: Pair): Tensor4D {
  const { tf } = call;
  const w = tf.transpose(weights.rank === 3 ? tf.expandDims(weights, 2) : weights, [2, 3, 1, 0]); // [kh, kw, channels / group, out]
  const [kh = 1, kw = 1, perGroup = 1, out = 1] = w.shape;
  if (perGroup * group !== x.shape[3]) throw failed(call, `${group} groups of ${perGroup} channels do not make ${x.shape[3]}.`);
  // TensorFlow.js takes a stride or a dilation, not both; its depthwise kernel takes equal strides only.
  const isDepthwise = perGroup === 1 && group > 1;
  const isDilated = dilations.some((n) => n !== 1);
  const isStrided = strides.some((n) => n !== 1);
  const thinsLater = isStrided && ((isDepthwise && strides[0] !== strides[1]) || isDilated);
  const kernel = isDilated && isDepthwise ? spreadOut(call, w, 0, dilations) : w;
  const step: [number, number] = thinsLater ? [1, 1] : [...strides];
  const dilation: [number, number] = isDepthwise ? [1, 1] : [...dilations];
  const whole = (image: Tensor4D, filter: TfTensor): Tensor4D => tf.conv2d<Tensor4D>(image, filter as Tensor4D, step, 'valid', 'NHWC', dilation); // four axes
  let y: Tensor4D;
  if (group === 1) y = whole(x, kernel);
  else if (isDepthwise) y = tf.depthwiseConv2d(x, tf.reshape(kernel, [kernel.shape[0] ?? kh, kernel.shape[1] ?? kw, group, out / group]) as Tensor4D, step, 'valid');
  else {
    const images = tf.split(x, group, 3);
    y = tf.concat<Tensor4D>(tf.split(kernel, group, 3).map((filter, i) => whole(images[i] as Tensor4D, filter)), 3); // as many images as filters, of four axes
  }
  return thinsLater ? everyNth(call, y, strides) : y;
}

function withBias(call: Call, y: Tensor4D): TfTensor {
  const bias = optional(call, 2);
  return bias === undefined ? y : call.tf.add(y, bias);
}

function conv(call: Call): readonly TfTensor[] {
  const x = input(call, 0);
  const { strides, dilations, pads } = windowsOf(call.node, x.rank - 2);
  const y = convolve(call, padded(call, channelsLast(call, x), pads), input(call, 1), intOf(call.node, 'group', 1), strides, dilations);
  return [channelsFirst(call, withBias(call, y), x.rank)];
}

/** w [channels, out / group, kernel…]; `output_padding` adds to the end. */
function convTranspose(call: Call): readonly TfTensor[] {
  const { tf, node } = call;
  const x = input(call, 0);
  const { strides, dilations, pads } = windowsOf(node, x.rank - 2);
  const group = intOf(node, 'group', 1);
  const given = input(call, 1);
  const w = given.rank === 3 ? tf.expandDims(given, 2) : given;
  const [channels = 1, perGroup = 1, kh = 1, kw = 1] = w.shape;
  const extra = intsOf(node, 'output_padding') ?? [0, 0];
  const more: Pair = x.rank === 3 ? [0, extra[0] ?? 0] : [extra[0] ?? 0, extra[1] ?? 0];
  const reach: Pair = [dilations[0] * (kh - 1), dilations[1] * (kw - 1)];
  const spread = spreadOut(call, channelsLast(call, x), 1, strides) as Tensor4D; // keeps the rank
  const room = padded(call, spread, [
    [reach[0] - pads[0][0], reach[0] - pads[0][1] + more[0]],
    [reach[1] - pads[1][0], reach[1] - pads[1][1] + more[1]],
  ]);
  // [group, channels / group, out / group, …] → [out, channels / group, …], mirrored
  const grouped = tf.reshape(tf.reverse(w, [2, 3]), [group, channels / group, perGroup, kh * kw]);
  const kernel = tf.reshape(tf.transpose(grouped, [0, 2, 1, 3]), [group * perGroup, channels / group, kh, kw]);
  return [channelsFirst(call, withBias(call, convolve(call, room, kernel, group, [1, 1], dilations)), x.rank)];
}

const pool =
  (isMax: boolean): Kernel =>
  (call) => {
    const { tf, node } = call;
    const x = input(call, 0);
    const kernel = intsOf(node, 'kernel_shape') ?? [];
    const size: [number, number] = x.rank === 3 ? [1, kernel[0] ?? 1] : [kernel[0] ?? 1, kernel[1] ?? 1];
    const { strides, pads } = windowsOf(node, x.rank - 2);
    const image = channelsLast(call, x);
    const step: [number, number] = [...strides];
    if (isMax) return [channelsFirst(call, tf.maxPool(padded(call, image, pads, -3.4e38), size, step, 'valid'), x.rank)];
    const mean = tf.avgPool(padded(call, image, pads), size, step, 'valid');
    if (intOf(node, 'count_include_pad', 0) === 1 || pads.flat().every((n) => n === 0)) return [channelsFirst(call, mean, x.rank)];
    const share = tf.avgPool(padded(call, tf.onesLike(image), pads), size, step, 'valid');
    return [channelsFirst(call, tf.div(mean, share), x.rank)];
  };

const globalPool =
  (isMax: boolean): Kernel =>
  (call) => {
    const x = input(call, 0);
    const axes = [...x.shape.keys()].slice(2);
    return [isMax ? call.tf.max(x, axes, true) : call.tf.mean(x, axes, true)];
  };

/** What none of the windows does. */
function refuses(node: Node): string | undefined {
  const rank = node.inputs[0]?.shape.length ?? 0;
  if (rank !== 3 && rank !== 4) return `it has ${rank - 2} axes of space; one and two are known.`;
  if (textOf(node, 'auto_pad', 'NOTSET') !== 'NOTSET') return 'auto_pad is not known; pads must be numbers.';
  if (intOf(node, 'ceil_mode', 0) !== 0) return 'ceil_mode is not known.';
  if (intsOf(node, 'output_shape') !== undefined) return 'output_shape is not known; use output_padding.';
  return undefined;
}

/** Pooling windows do not skip elements. */
function refusesPool(node: Node): string | undefined {
  return (intsOf(node, 'dilations') ?? []).some((n) => n !== 1) ? 'dilations are not known.' : refuses(node);
}

const entry = (run: Kernel): KernelEntry => ({ run, refuses });

export const WINDOWS: Kernels = {
  ...plain({ GlobalAveragePool: globalPool(false), GlobalMaxPool: globalPool(true) }),
  Conv: entry(conv),
  ConvTranspose: entry(convTranspose),
  MaxPool: { run: pool(true), refuses: refusesPool },
  AveragePool: { run: pool(false), refuses: refusesPool },
};
