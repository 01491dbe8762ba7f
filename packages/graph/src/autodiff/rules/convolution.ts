/** Gradients of 2-D convolution and pooling. A gradient with respect to the image is a transposed convolution. */
import type { Tensor } from '@querent/core';
import { mul } from '../../ops/elementwise.ts';
import { conv } from '../../ops/neural.ts';
import { int, intVector, ints, op1 } from '../../ops/op.ts';
import { reduceSum } from '../../ops/reductions.ts';
import { concat, filled, pad, reshape, slice, transpose } from '../../ops/shaping.ts';
import { multiplyDims } from '../../dims.ts';
import type { GradientRule, RuleContext } from '../rule.ts';
import { divideBySize, intOf, intsOf, noGradient, textOf } from '../rule.ts';

interface Window {
  readonly strides: readonly number[];
  /** Before height and width, then after them. */
  readonly pads: readonly number[];
  readonly dilations: readonly number[];
  readonly group: number;
  readonly kernel: readonly number[];
  /** Size of the result. */
  readonly out: readonly number[];
}

function windowOf(c: RuleContext, kernel: readonly number[]): Window {
  const x = c.x(0);
  if (x.shape.length !== 4) throw noGradient(c.node, 'only 2-D windows have one.');
  if (textOf(c.node, 'auto_pad', 'NOTSET') !== 'NOTSET') throw noGradient(c.node, 'it has auto_pad; pads must be numbers.');
  const sizes = [...x.shape.slice(2), ...c.y(0).shape.slice(2)];
  if (sizes.some((n) => typeof n !== 'number')) throw noGradient(c.node, `its image sizes must be numbers, they are ${sizes.join(', ')}.`);
  return {
    strides: intsOf(c.node, 'strides') ?? [1, 1],
    pads: intsOf(c.node, 'pads') ?? [0, 0, 0, 0],
    dilations: intsOf(c.node, 'dilations') ?? [1, 1],
    group: intOf(c.node, 'group', 1),
    kernel,
    out: c.y(0).shape.slice(2).map(Number),
  };
}

/** The transposed convolution of `dy` with `w` that gives the shape of `x`. */
function transposed(x: Tensor, dy: Tensor, w: Tensor, { strides, pads, dilations, group, kernel, out }: Window): Tensor {
  const reach = out.map((n, i) => (n - 1) * strides[i]! + dilations[i]! * (kernel[i]! - 1) + 1 - pads[i]! - pads[i + 2]!);
  return op1('ConvTranspose', [dy, w], {
    attributes: {
      strides: ints(strides), pads: ints(pads), dilations: ints(dilations), group: int(group), kernel_shape: ints(kernel),
      output_padding: ints(reach.map((n, i) => Number(x.shape[i + 2]) - n)),
    },
    outputs: [{ dtype: x.dtype, shape: x.shape }],
  });
}

/** dX is the transposed convolution of dY; dW correlates X with dY. */
const convRule: GradientRule = (c) => {
  const [x, w, dy] = [c.x(0), c.x(1), c.dy(0)!];
  const window = windowOf(c, w.shape.slice(2).map(Number));
  return [
    c.needs(0) ? transposed(x, dy, w, window) : null,
    c.needs(1) ? weightGradient(x, w, dy, window) : null,
    c.node.inputs.length > 2 && c.needs(2) ? reduceSum(dy, [0, 2, 3], false) : null,
  ];
};

function weightGradient(x: Tensor, w: Tensor, dy: Tensor, window: Window): Tensor {
  const { group } = window;
  if (group === 1) return denseWeightGradient(x, dy, window);
  const [perGroup, outPerGroup] = [Number(w.shape[1]), Number(w.shape[0]) / group];
  if (perGroup === 1 && outPerGroup === 1) return depthwiseWeightGradient(x, w, dy, window);
  const parts = Array.from({ length: group }, (_, k) =>
    denseWeightGradient(slice(x, 1, k * perGroup, (k + 1) * perGroup), slice(dy, 1, k * outPerGroup, (k + 1) * outPerGroup), window),
  );
  return concat(parts, 0);
}

/** Channels take the place of the batch: [channels, batch, …] against [out, batch, …] gives [channels, out, kernel…]. */
function denseWeightGradient(x: Tensor, dy: Tensor, { strides, dilations, pads, kernel }: Window): Tensor {
  const full = conv(transpose(x, [1, 0, 2, 3]), transpose(dy, [1, 0, 2, 3]), null, { strides: dilations, dilations: strides, pads });
  return transpose(slice(slice(full, 2, 0, kernel[0]!), 3, 0, kernel[1]!), [1, 0, 2, 3]);
}

/** dw[c, i, j] = Σ dy[·, c, ·] x[·, c, · stride + (i, j) dilation]: a product and a sum for each place of the kernel. */
function depthwiseWeightGradient(x: Tensor, w: Tensor, dy: Tensor, { strides, dilations, pads, kernel, out }: Window): Tensor {
  const padded = pads.every((n) => n === 0) ? x : pad(x, [0, 0, pads[0]!, pads[1]!], [0, 0, pads[2]!, pads[3]!]);
  const places: Tensor[] = [];
  for (let i = 0; i < kernel[0]!; i++) {
    for (let j = 0; j < kernel[1]!; j++) {
      const starts = [i * dilations[0]!, j * dilations[1]!];
      const ends = starts.map((start, axis) => start + (out[axis]! - 1) * strides[axis]! + 1);
      const seen = op1('Slice', [padded, intVector(x, starts), intVector(x, ends), intVector(x, [2, 3]), intVector(x, strides)], {
        outputs: [{ dtype: x.dtype, shape: dy.shape }],
      });
      places.push(reshape(reduceSum(mul(dy, seen), [0, 2, 3], false), [-1, 1])); // [channels, 1]
    }
  }
  return reshape(concat(places, 1), w.shape);
}

/** Each input of a window gets an equal share. */
const averagePool: GradientRule = (c) => {
  const x = c.x(0);
  const window = windowOf(c, intsOf(c.node, 'kernel_shape') ?? []);
  if (window.pads.some((n) => n !== 0) || intOf(c.node, 'ceil_mode', 0) !== 0) throw noGradient(c.node, 'a padded average pool has none.');
  const channels = Number(x.shape[1]);
  const share = filled(x, [channels, 1, ...window.kernel], 1 / (window.kernel[0]! * window.kernel[1]!));
  return [transposed(x, c.dy(0)!, share, { ...window, group: channels })];
};

export const convolutionRules: Readonly<Record<string, GradientRule>> = {
  Conv: convRule,
  AveragePool: averagePool,
  GlobalAveragePool: (c) => [divideBySize(c.dyCompact(0)!, multiplyDims(c.x(0).shape[2]!, c.x(0).shape[3]!))],
};
