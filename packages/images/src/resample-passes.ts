/**
 * The two passes of `resample.ts` over RGB bytes, where nearly all the time of a resize goes: WebAssembly with 128-bit
 * vectors (`wasm/build.mjs`), fed in strips of about a megabyte, so that its memory stays small however large the picture.
 * Each pass is a generator that yields between strips: a caller that must not block takes a breath there.
 */
import { openKernel } from '@querent/core';
import type { KernelMemory } from '@querent/core';
import type { Coefficients } from './resample-coefficients.ts';
import { RESAMPLE_KERNEL } from './resample-kernel.ts';

interface Kernel extends KernelMemory {
  horizontal(src: number, stride: number, rows: number, dst: number, width: number, bounds: number, weights: number, pairs: number): void;
  vertical(src: number, stride: number, height: number, dst: number, bounds: number, weights: number, pairs: number): void;
}

/** A pass under way: yields between strips, returns the bytes. */
export type Pass = Generator<undefined, Uint8Array, undefined>;

const STRIP_BYTES = 1 << 20;
const KEPT_MEMORY_BYTES = 16 << 20;
/** Vectors are loaded whole: they reach past the last pixel. */
const SLACK = 16;

let kept: Kernel | undefined;

/** A kernel with room for `bytes`. One of ordinary size is kept; a huge one is left to the garbage collector. */
function kernelWith(bytes: number): Kernel {
  let kernel = bytes <= KEPT_MEMORY_BYTES ? kept : undefined;
  kernel ??= openKernel<Kernel>(RESAMPLE_KERNEL);
  if (bytes <= KEPT_MEMORY_BYTES) kept = kernel;
  const missing = bytes - kernel.memory.buffer.byteLength;
  if (missing > 0) kernel.memory.grow(Math.ceil(missing / 65_536));
  return kernel;
}

/** Tap pairs of each output position with their weights split in halves: `k = hi * 2048 + lo`. */
interface Table {
  readonly pairs: number;
  readonly counts: Int32Array;
  /** int16 `[size, pairs, hi0 hi1 lo0 lo1]`. */
  readonly weights: Int16Array;
}

function packPairs({ taps, counts, weights }: Coefficients): Table {
  const size = counts.length;
  const pairs = (taps + 1) >> 1;
  const packed = new Int16Array(size * pairs * 4);
  const pairCounts = new Int32Array(size);
  for (let i = 0; i < size; i++) {
    const count = counts[i]!;
    pairCounts[i] = Math.max(1, (count + 1) >> 1);
    for (let t = 0; t < count; t++) {
      const weight = weights[i * taps + t]!;
      const at = (i * pairs + (t >> 1)) * 4 + (t & 1);
      packed[at] = weight >> 11;
      packed[at + 2] = weight & 2047;
    }
  }
  return { pairs, counts: pairCounts, weights: packed };
}

/** Where things lie in the kernel's memory: bounds, weights, source, destination. */
function layOut(positions: number, pairs: number, sourceBytes: number): { weights: number; src: number; dst: number } {
  const weights = positions * 8;
  const src = weights + positions * pairs * 8;
  return { weights, src, dst: (src + sourceBytes + SLACK + 15) & ~15 };
}

/** Rows `firstRow` to `endRow` (exclusive) of `source`, each `sourceWidth` wide, to `width` pixels. uint8 `[rows, width, 3]`. */
export function* horizontalPass(
  source: Uint8Array,
  sourceWidth: number,
  firstRow: number,
  endRow: number,
  width: number,
  coefficients: Coefficients,
): Pass {
  const table = packPairs(coefficients);
  const stride = sourceWidth * 3;
  const outStride = width * 3;
  const out = new Uint8Array((endRow - firstRow) * outStride);
  // The kernel takes four rows at a time.
  const stripRows = Math.max(4, Math.floor(STRIP_BYTES / Math.max(stride, outStride)) & ~3);
  const strip = Math.min(stripRows, (endRow - firstRow + 3) & ~3);
  // An odd tap reads one pixel past the last row.
  const at = layOut(width, table.pairs, strip * stride);
  const bounds = new Int32Array(width * 2);
  for (let x = 0; x < width; x++) {
    bounds[x * 2] = coefficients.starts[x]! * 3;
    bounds[x * 2 + 1] = table.counts[x]!;
  }
  for (let row = firstRow; row < endRow; row += stripRows) {
    if (row > firstRow) yield;
    const rows = Math.min(stripRows, endRow - row);
    const kernel = kernelWith(at.dst + strip * outStride + SLACK);
    const memory = new Uint8Array(kernel.memory.buffer);
    new Int32Array(memory.buffer, 0, bounds.length).set(bounds);
    new Int16Array(memory.buffer, at.weights, table.weights.length).set(table.weights);
    memory.set(source.subarray(row * stride, (row + rows) * stride), at.src);
    kernel.horizontal(at.src, stride, (rows + 3) & ~3, at.dst, width, 0, at.weights, table.pairs);
    out.set(memory.subarray(at.dst, at.dst + rows * outStride), (row - firstRow) * outStride);
  }
  return out;
}

/** `rows`, `width` wide, whose first row is row `firstRow` of the source, to `height` rows. uint8 `[height, width, 3]`. */
export function* verticalPass(rows: Uint8Array, width: number, firstRow: number, height: number, coefficients: Coefficients): Pass {
  const { starts, counts } = coefficients;
  const table = packPairs(coefficients);
  const stride = width * 3;
  const out = new Uint8Array(height * stride);
  const valuesPerRow = table.pairs * 4;
  for (let from = 0; from < height; ) {
    if (from > 0) yield;
    // As many output rows as fit with the rows that they read; at least one.
    const first = starts[from]!;
    let end = first + counts[from]!;
    let to = from + 1;
    while (to < height && (starts[to]! + counts[to]! - first) * stride <= STRIP_BYTES && (to + 1 - from) * stride <= STRIP_BYTES) {
      end = Math.max(end, starts[to]! + counts[to]!);
      to++;
    }
    const count = to - from;
    // An odd tap, which has weight 0, reads one row more.
    const at = layOut(count, table.pairs, (end - first + 1) * stride);
    const kernel = kernelWith(at.dst + count * stride + SLACK);
    const memory = new Uint8Array(kernel.memory.buffer);
    const bounds = new Int32Array(memory.buffer, 0, count * 2);
    for (let y = from; y < to; y++) {
      bounds[(y - from) * 2] = (starts[y]! - first) * stride;
      bounds[(y - from) * 2 + 1] = table.counts[y]!;
    }
    new Int16Array(memory.buffer, at.weights, count * valuesPerRow).set(table.weights.subarray(from * valuesPerRow, to * valuesPerRow));
    memory.set(rows.subarray((first - firstRow) * stride, (end - firstRow) * stride), at.src);
    kernel.vertical(at.src, stride, count, at.dst, 0, at.weights, table.pairs);
    out.set(memory.subarray(at.dst, at.dst + count * stride), from * stride);
    from = to;
  }
  return out;
}
