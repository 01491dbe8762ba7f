/** Resize (ONNX 19): separable, so one matrix of weights for each axis. */
import type { Call, Kernels, ReferenceTensor } from './tensor.ts';
import { at, axisOf, build, floatOf, input, intOf, intsOf, refuse, textOf, withAxis } from './tensor.ts';

/** Keys' cubic kernel (1981); `a` is its slope at 1. */
function cubic(distance: number, a: number): number {
  const x = Math.abs(distance);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

const linear = (distance: number): number => Math.max(0, 1 - Math.abs(distance));

/** Where output `i` lies on the input axis. */
function sourceOf(call: Call, i: number, size: number, out: number, scale: number): number {
  const mode = textOf(call, 'coordinate_transformation_mode', 'half_pixel');
  switch (mode) {
    case 'half_pixel':
      return (i + 0.5) / scale - 0.5;
    case 'pytorch_half_pixel':
      return out > 1 ? (i + 0.5) / scale - 0.5 : 0;
    case 'align_corners':
      return out > 1 ? (i * (size - 1)) / (out - 1) : 0;
    case 'asymmetric':
      return i / scale;
    default:
      throw refuse(call, `coordinate_transformation_mode ${mode} is not known.`);
  }
}

function nearest(call: Call, x: number): number {
  switch (textOf(call, 'nearest_mode', 'round_prefer_floor')) {
    case 'round_prefer_floor':
      return Math.ceil(x - 0.5);
    case 'round_prefer_ceil':
      return Math.floor(x + 0.5);
    case 'floor':
      return Math.floor(x);
    default:
      return Math.ceil(x);
  }
}

/** weights[i][j]: the share of input j in output i. Positions outside are the edge's, or left out. */
function weightsOf(call: Call, size: number, out: number, scale: number): number[][] {
  const mode = textOf(call, 'mode', 'nearest');
  const shrink = intOf(call, 'antialias', 0) === 1 ? Math.min(scale, 1) : 1; // antialiasing widens the kernel when shrinking
  const leavesOut = intOf(call, 'exclude_outside', 0) === 1;
  const reach = (mode === 'cubic' ? 2 : 1) / shrink;
  const a = floatOf(call, 'cubic_coeff_a', -0.75);
  return Array.from({ length: out }, (_, i) => {
    const weights = Array.from({ length: size }, () => 0);
    const center = sourceOf(call, i, size, out, scale);
    if (mode === 'nearest') {
      weights[Math.min(Math.max(nearest(call, center), 0), size - 1)] = 1;
      return weights;
    }
    for (let j = Math.ceil(center - reach); j <= Math.floor(center + reach); j++) {
      if (leavesOut && (j < 0 || j >= size)) continue;
      const distance = (j - center) * shrink;
      weights[Math.min(Math.max(j, 0), size - 1)]! += mode === 'cubic' ? cubic(distance, a) : linear(distance);
    }
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return weights.map((weight) => weight / total);
  });
}

function resize(call: Call): ReferenceTensor[] {
  const x = input(call, 0);
  const [scales, sizes] = [call.inputs[2]?.data ?? [], call.inputs[3]?.data ?? []];
  if (textOf(call, 'keep_aspect_ratio_policy', 'stretch') !== 'stretch') throw refuse(call, 'only stretching is known.');
  const axes = (intsOf(call, 'axes') ?? x.shape.map((_, axis) => axis)).map((axis) => axisOf(axis, x.shape.length));
  const results = axes.reduce((tensor, axis, i) => {
    const size = tensor.shape[axis]!;
    const out = sizes[i] ?? Math.floor(size * (scales[i] ?? 1));
    if (out === size && (scales[i] ?? 1) === 1) return tensor;
    const weights = weightsOf(call, size, out, scales[i] ?? out / size);
    return build(tensor.dtype, withAxis(tensor.shape, axis, out), (index) =>
      weights[index[axis]!]!.reduce((sum, weight, j) => (weight === 0 ? sum : sum + weight * at(tensor, withAxis(index, axis, j))), 0),
    );
  }, x);
  return [results];
}

export const RESIZE: Kernels = { Resize: resize };
