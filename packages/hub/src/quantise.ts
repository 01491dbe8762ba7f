/**
 * Weights in blocks of small integers: each run of `blockSize` neighbours along a row shares a scale and, at 4 bits, a zero point.
 * The layout is that of ONNX Runtime's MatMulNBits: rows [out, in], the last block filled up, two 4-bit values to a byte, the earlier
 * one low. 8 bits are symmetric about 128. The cache of what was quantised is `quantise-cache.ts`.
 */
import type { NBits } from './gguf-blocks.ts';

/** A matrix in blocks. */
export interface QuantisedMatrix extends NBits {
  readonly rows: number;
  readonly columns: number;
  /** uint8, one a block, two to a byte, rows filled up to whole bytes: the integer that stands for 0. Absent: 8 or 128. */
  readonly zeroPoints?: Uint8Array;
}

export interface QuantiseOptions {
  readonly bits: 4 | 8;
  /** Default 32. */
  readonly blockSize?: number;
}

/**
 * @param values float32 [rows, columns]; NaN and infinities become 0 and the block's largest value
 */
export function quantiseMatrix(values: Float32Array, rows: number, columns: number, { bits, blockSize = 32 }: QuantiseOptions): QuantisedMatrix {
  const blocks = Math.ceil(columns / blockSize);
  const blockBytes = (blockSize * bits) / 8;
  const data = new Uint8Array(rows * blocks * blockBytes).fill(bits === 8 ? 128 : 0);
  const scales = new Float32Array(rows * blocks);
  const common = { rows, columns, bits, blockSize, data, scales };
  if (bits === 8) {
    for (let row = 0, block = 0; row < rows; row++) {
      for (let from = 0; from < columns; from += blockSize, block++) {
        scales[block] = eightBits(values, row * columns + from, Math.min(blockSize, columns - from), data, block * blockSize);
      }
    }
    return common;
  }
  const zeroRow = Math.ceil(blocks / 2);
  const zeroPoints = new Uint8Array(rows * zeroRow);
  for (let row = 0, block = 0; row < rows; row++) {
    for (let b = 0; b < blocks; b++, block++) {
      const from = b * blockSize;
      const { scale, zero } = fourBits(values, row * columns + from, Math.min(blockSize, columns - from), data, block * blockBytes);
      scales[block] = scale;
      zeroPoints[row * zeroRow + (b >> 1)]! |= zero << (4 * (b & 1));
    }
  }
  return { ...common, zeroPoints };
}

/** The matrix as float32 [rows, columns]. */
export function dequantiseMatrix({ rows, columns, bits, blockSize, data, scales, offsets, zeroPoints }: QuantisedMatrix): Float32Array {
  const blocks = Math.ceil(columns / blockSize);
  const values = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const b = Math.floor(column / blockSize);
      const block = row * blocks + b;
      const at = block * blockSize + (column - b * blockSize);
      const q = bits === 8 ? data[at]! : (data[at >> 1]! >> (4 * (at & 1))) & 15;
      const zero = zeroPoints === undefined ? 2 ** (bits - 1) : (zeroPoints[row * Math.ceil(blocks / 2) + (b >> 1)]! >> (4 * (b & 1))) & 15;
      values[row * columns + column] = scales[block]! * (q - zero) + (offsets?.[block] ?? 0);
    }
  }
  return values;
}

/** Largest magnitude → 127. Gives the scale. */
function eightBits(values: Float32Array, from: number, count: number, data: Uint8Array, out: number): number {
  let largest = 0;
  for (let i = from; i < from + count; i++) {
    const magnitude = Math.abs(values[i] as number); // in range
    if (magnitude > largest && magnitude < Infinity) largest = magnitude;
  }
  const scale = Math.fround(largest / 127);
  const inverse = scale === 0 ? 0 : 1 / scale;
  for (let i = 0; i < count; i++) {
    const q = Math.round((values[from + i] as number) * inverse);
    data[out + i] = 128 + (q > 127 ? 127 : q < -127 ? -127 : q | 0); // NaN | 0 is 0
  }
  return scale;
}

/** [smallest, largest], 0 among them, → [0, 15]. */
function fourBits(values: Float32Array, from: number, count: number, data: Uint8Array, out: number): { readonly scale: number; readonly zero: number } {
  let [least, most] = [0, 0];
  for (let i = from; i < from + count; i++) {
    const value = values[i] as number; // in range
    if (value < least && value > -Infinity) least = value;
    else if (value > most && value < Infinity) most = value;
  }
  const scale = Math.fround((most - least) / 15);
  const inverse = scale === 0 ? 0 : 1 / scale;
  const zero = Math.min(15, Math.max(0, Math.round(-least * inverse)));
  for (let i = 0; i < count; i++) {
    const q = Math.round((values[from + i] as number) * inverse) + zero;
    data[out + (i >> 1)]! |= (q > 15 ? 15 : q < 0 ? 0 : q | 0) << (4 * (i & 1));
  }
  for (let i = count; i < 2 * Math.ceil(count / 2); i++) data[out + (i >> 1)]! |= zero << (4 * (i & 1));
  return { scale, zero };
}
