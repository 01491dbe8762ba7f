/**
 * How GGML encodes a row of values in blocks (https://github.com/ggml-org/ggml, `ggml-common.h`): a scale and small integers for 32 or
 * 256 neighbours. {@link decodeBlocks} gives float32; {@link asNBits} regroups the same integers, without loss, into the layout that
 * ONNX Runtime's MatMulNBits reads, so that a quantised model never becomes floats on its way in.
 */
import { bfloat16ToFloat32, float16ToFloat32 } from './float16.ts';

/** A type of tensor. `float32`, `float16` and `bfloat16` are plain values: a block of one. */
export interface GgmlType {
  readonly name: 'F32' | 'F16' | 'BF16' | 'Q4_0' | 'Q4_1' | 'Q8_0' | 'Q4_K' | 'Q6_K';
  /** Values in a block, and bytes. */
  readonly blockSize: number;
  readonly blockBytes: number;
}

/** By the number that files have. */
export const GGML_TYPES: ReadonlyMap<number, GgmlType> = new Map([
  [0, { name: 'F32', blockSize: 1, blockBytes: 4 }],
  [1, { name: 'F16', blockSize: 1, blockBytes: 2 }],
  [2, { name: 'Q4_0', blockSize: 32, blockBytes: 18 }],
  [3, { name: 'Q4_1', blockSize: 32, blockBytes: 20 }],
  [8, { name: 'Q8_0', blockSize: 32, blockBytes: 34 }],
  [12, { name: 'Q4_K', blockSize: 256, blockBytes: 144 }],
  [14, { name: 'Q6_K', blockSize: 256, blockBytes: 210 }],
  [30, { name: 'BF16', blockSize: 1, blockBytes: 2 }],
]);

/**
 * Integers with a scale a block: `value = scale · (q − 2^(bits−1)) + offset`. `data` holds them in order, two to a byte at 4 bits, the
 * earlier one low.
 */
export interface NBits {
  readonly bits: 4 | 8;
  /** Values that share a scale: 16 or 32. */
  readonly blockSize: number;
  readonly data: Uint8Array;
  /** One a block. */
  readonly scales: Float32Array;
  /** One a block, where values are not symmetric about 0. */
  readonly offsets?: Float32Array;
}

/**
 * Values of whole blocks.
 * @param bytes whole blocks of `type`
 */
export function decodeBlocks(type: GgmlType, bytes: Uint8Array): Float32Array {
  if (type.name === 'F32') return new Float32Array(aligned(bytes));
  if (type.name === 'F16') return float16ToFloat32(new Uint16Array(aligned(bytes)));
  if (type.name === 'BF16') return bfloat16ToFloat32(new Uint16Array(aligned(bytes)));
  return decodeNBits(asNBits(type, bytes));
}

/** {@link NBits} as float32. */
export function decodeNBits({ bits, blockSize, data, scales, offsets }: NBits): Float32Array {
  const values = new Float32Array(scales.length * blockSize);
  const zero = bits === 4 ? 8 : 128;
  for (let block = 0, at = 0; block < scales.length; block++) {
    const scale = scales[block] as number; // in range
    const offset = offsets?.[block] ?? 0;
    for (let i = 0; i < blockSize; i++, at++) {
      const q = bits === 8 ? (data[at] as number) : ((data[at >> 1] as number) >> ((at & 1) * 4)) & 15; // in range
      values[at] = scale * (q - zero) + offset;
    }
  }
  return values;
}

/** The integers of a block type as {@link NBits}; the values are the same. Not for F32, F16 and BF16. */
export function asNBits(type: GgmlType, bytes: Uint8Array): NBits {
  const blocks = bytes.length / type.blockBytes;
  const halfAt = halves(bytes);
  if (type.name === 'Q8_0') {
    const [data, scales] = [new Uint8Array(blocks * 32), new Float32Array(blocks)];
    for (let b = 0, at = 0; b < blocks; b++, at += 34) {
      scales[b] = halfAt(at);
      for (let i = 0; i < 32; i++) data[b * 32 + i] = (bytes[at + 2 + i] as number) ^ 0x80; // int8 + 128
    }
    return { bits: 8, blockSize: 32, data, scales };
  }
  if (type.name === 'Q6_K') return sixBits(bytes, blocks, halfAt);
  if (type.name === 'Q4_K') return fourBitsOf256(bytes, blocks, halfAt);

  // Q4_0: a scale; Q4_1: a scale and a minimum. Then 16 bytes: value i low in byte i, value i + 16 high.
  const hasMinimum = type.name === 'Q4_1';
  const [data, scales] = [new Uint8Array(blocks * 16), new Float32Array(blocks)];
  const offsets = hasMinimum ? new Float32Array(blocks) : undefined;
  for (let b = 0, at = 0; b < blocks; b++, at += type.blockBytes) {
    const scale = halfAt(at);
    scales[b] = scale;
    if (offsets !== undefined) offsets[b] = halfAt(at + 2) + 8 * scale;
    regroup(bytes, at + type.blockBytes - 16, 16, data, b * 16);
  }
  return { bits: 4, blockSize: 32, data, scales, ...(offsets === undefined ? {} : { offsets }) };
}

/** Low halves of `count` bytes, then their high halves → neighbours two to a byte. */
function regroup(from: Uint8Array, at: number, count: number, to: Uint8Array, out: number): void {
  for (let i = 0; i < count / 2; i++) {
    const [a, b] = [from[at + 2 * i] as number, from[at + 2 * i + 1] as number]; // in range
    to[out + i] = (a & 15) | ((b & 15) << 4);
    to[out + count / 2 + i] = (a >> 4) | (b & 0xf0);
  }
}

/** Q4_K: two halves, eight 6-bit scales and minima packed in 12 bytes, then 4 × (32 low, 32 high) values. */
function fourBitsOf256(bytes: Uint8Array, blocks: number, halfAt: (at: number) => number): NBits {
  const [data, scales, offsets] = [new Uint8Array(blocks * 128), new Float32Array(blocks * 8), new Float32Array(blocks * 8)];
  for (let b = 0, at = 0; b < blocks; b++, at += 144) {
    const [d, dmin] = [halfAt(at), halfAt(at + 2)];
    const packed = (i: number): number => bytes[at + 4 + i] as number; // in range
    for (let j = 0; j < 8; j++) {
      const scale = j < 4 ? packed(j) & 63 : (packed(j + 4) & 15) | ((packed(j - 4) >> 6) << 4);
      const minimum = j < 4 ? packed(j + 4) & 63 : (packed(j + 4) >> 4) | ((packed(j) >> 6) << 4);
      scales[b * 8 + j] = d * scale;
      offsets[b * 8 + j] = 8 * d * scale - dmin * minimum;
    }
    for (let j = 0; j < 4; j++) regroup(bytes, at + 16 + 32 * j, 32, data, b * 128 + 32 * j);
  }
  return { bits: 4, blockSize: 32, data, scales, offsets };
}

/** Q6_K: 128 bytes of low 4 bits, 64 of high 2 bits, sixteen int8 scales, a half. Values are −32…31 in blocks of 16. */
function sixBits(bytes: Uint8Array, blocks: number, halfAt: (at: number) => number): NBits {
  const [data, scales] = [new Uint8Array(blocks * 256), new Float32Array(blocks * 16)];
  for (let b = 0, at = 0; b < blocks; b++, at += 210) {
    const d = halfAt(at + 208);
    for (let j = 0; j < 16; j++) scales[b * 16 + j] = d * (((bytes[at + 192 + j] as number) << 24) >> 24);
    for (let half = 0; half < 2; half++) {
      const [low, high, out] = [at + 64 * half, at + 128 + 32 * half, b * 256 + 128 * half];
      for (let i = 0; i < 32; i++) {
        const [l0, l1, h] = [bytes[low + i] as number, bytes[low + 32 + i] as number, bytes[high + i] as number]; // in range
        data[out + i] = ((l0 & 15) | ((h & 3) << 4)) + 96; // − 32 + 128
        data[out + 32 + i] = ((l1 & 15) | (((h >> 2) & 3) << 4)) + 96;
        data[out + 64 + i] = ((l0 >> 4) | (((h >> 4) & 3) << 4)) + 96;
        data[out + 96 + i] = ((l1 >> 4) | ((h >> 6) << 4)) + 96;
      }
    }
  }
  return { bits: 8, blockSize: 16, data, scales };
}

let halfTable: Float32Array | undefined;

function halves(bytes: Uint8Array): (at: number) => number {
  const table = (halfTable ??= float16ToFloat32(Uint16Array.from({ length: 65536 }, (_, half) => half)));
  return (at) => table[(bytes[at] as number) | ((bytes[at + 1] as number) << 8)] as number; // in range
}

/** The same bytes in memory of their own, which begins at a multiple of 8. */
function aligned(bytes: Uint8Array): ArrayBuffer {
  return bytes.slice().buffer;
}
