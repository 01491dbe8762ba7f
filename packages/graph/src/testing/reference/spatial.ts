/** Sliding windows over any number of spatial axes: convolution, its transpose, and pooling. */
import type { Call, Kernel, Kernels, ReferenceTensor } from './tensor.ts';
import { at, build, eachIndex, flatIndex, input, intOf, intsOf, refuse, textOf } from './tensor.ts';
import { elementCount } from '@querent/core';

interface Windows {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Before each axis, then after each. */
  readonly pads: readonly number[];
}

function windowsOf(call: Call, kernel: readonly number[]): Windows {
  if (textOf(call, 'auto_pad', 'NOTSET') !== 'NOTSET') throw refuse(call, 'auto_pad is not known.');
  if (intOf(call, 'ceil_mode', 0) !== 0) throw refuse(call, 'ceil_mode is not known.');
  return {
    kernel,
    strides: intsOf(call, 'strides') ?? kernel.map(() => 1),
    dilations: intsOf(call, 'dilations') ?? kernel.map(() => 1),
    pads: intsOf(call, 'pads') ?? [...kernel, ...kernel].map(() => 0),
  };
}

function outputSizes({ kernel, strides, dilations, pads }: Windows, sizes: readonly number[]): number[] {
  return sizes.map((size, i) => {
    const free = size + pads[i]! + pads[i + sizes.length]! - dilations[i]! * (kernel[i]! - 1) - 1;
    return Math.floor(free / strides[i]!) + 1;
  });
}

/** Visits the input positions under the window at `output`, with the kernel's own position; padding is undefined. */
function eachTap(
  { kernel, strides, dilations, pads }: Windows, sizes: readonly number[], output: readonly number[],
  visit: (tap: readonly number[], position: readonly number[] | undefined) => void,
): void {
  eachIndex(kernel, (tap) => {
    const position = tap.map((k, i) => output[i]! * strides[i]! + k * dilations[i]! - pads[i]!);
    visit(tap, position.some((n, i) => n < 0 || n >= sizes[i]!) ? undefined : position);
  });
}

/** x [batch, channels, space…], w [out, channels / group, kernel…], b [out]. */
function conv(call: Call): ReferenceTensor[] {
  const [x, w, b] = [input(call, 0), input(call, 1), call.inputs[2]];
  const [batch, , ...sizes] = x.shape;
  const [out, perGroup, ...kernel] = w.shape;
  const windows = windowsOf(call, kernel);
  const outPerGroup = out! / intOf(call, 'group', 1); // a weight has two axes and more
  return [
    build(x.dtype, [batch!, out!, ...outputSizes(windows, sizes)], ([n, o, ...position]) => {
      const firstChannel = Math.floor(o! / outPerGroup) * perGroup!;
      let sum = b?.data[o!] ?? 0;
      eachTap(windows, sizes, position, (tap, source) => {
        if (source === undefined) return;
        for (let c = 0; c < perGroup!; c++) sum += at(x, [n!, firstChannel + c, ...source]) * at(w, [o!, c, ...tap]);
      });
      return sum;
    }),
  ];
}

/** x [batch, channels, space…], w [channels, out / group, kernel…]: each input adds a scaled kernel to the output. */
function convTranspose(call: Call): ReferenceTensor[] {
  const [x, w, b] = [input(call, 0), input(call, 1), call.inputs[2]];
  const [batch, channels, ...sizes] = x.shape;
  const [, perGroup, ...kernel] = w.shape;
  const windows = windowsOf(call, kernel);
  if (intsOf(call, 'output_shape') !== undefined) throw refuse(call, 'output_shape is not known; use output_padding.');
  const extra = intsOf(call, 'output_padding') ?? kernel.map(() => 0);
  const group = intOf(call, 'group', 1);
  const { strides, dilations, pads } = windows;
  const grown = sizes.map((size, i) => {
    const full = (size - 1) * strides[i]! + dilations[i]! * (kernel[i]! - 1) + 1 + extra[i]!;
    return full - pads[i]! - pads[i + sizes.length]!;
  });
  const shape = [batch!, perGroup! * group, ...grown]; // a weight has two axes and more
  const data = new Float64Array(elementCount(shape));
  if (b !== undefined) eachIndex(shape, ([, o], flat) => (data[flat] = b.data[o!]!));
  eachIndex(x.shape, ([n, c, ...position], flat) => {
    const firstOut = Math.floor(c! / (channels! / group)) * perGroup!;
    eachTap(windows, grown, position, (tap, target) => {
      if (target === undefined) return;
      for (let o = 0; o < perGroup!; o++) data[flatIndex(shape, [n!, firstOut + o, ...target])]! += x.data[flat]! * at(w, [c!, o, ...tap]);
    });
  });
  return [{ dtype: x.dtype, shape, data }];
}

/** `counted` is how many positions the window has, padding included. */
const pool =
  (f: (values: readonly number[], counted: number, call: Call) => number): Kernel =>
  (call) => {
    const x = input(call, 0);
    const [batch, channels, ...sizes] = x.shape;
    const windows = windowsOf(call, intsOf(call, 'kernel_shape') ?? sizes);
    return [
      build(x.dtype, [batch!, channels!, ...outputSizes(windows, sizes)], ([n, c, ...position]) => {
        const values: number[] = [];
        eachTap(windows, sizes, position, (_, source) => {
          if (source !== undefined) values.push(at(x, [n!, c!, ...source]));
        });
        return f(values, elementCount(windows.kernel), call);
      }),
    ];
  };

const mean = (values: readonly number[], count: number): number => values.reduce((a, b) => a + b, 0) / count;

/** Pools all of space into one. */
const globalPool =
  (f: (values: readonly number[]) => number): Kernel =>
  (call) => {
    const x = input(call, 0);
    return [
      build(x.dtype, x.shape.map((size, axis) => (axis < 2 ? size : 1)), (index) => {
        const values: number[] = [];
        eachIndex(x.shape.slice(2), (position) => values.push(at(x, [...index.slice(0, 2), ...position])));
        return f(values);
      }),
    ];
  };

export const SPATIAL: Kernels = {
  Conv: conv,
  ConvTranspose: convTranspose,
  MaxPool: pool((values) => Math.max(...values)),
  AveragePool: pool((values, counted, call) => mean(values, intOf(call, 'count_include_pad', 0) === 1 ? counted : values.length)),
  GlobalAveragePool: globalPool((values) => mean(values, values.length)),
  GlobalMaxPool: globalPool((values) => values.reduce((a, b) => Math.max(a, b), -Infinity)),
};
