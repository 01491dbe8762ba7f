import fc from 'fast-check';
import { expect, test } from 'vitest';
import { float16ToFloat32, float32ToFloat16 } from './float16.ts';
import { GGML_TYPES, asNBits, decodeBlocks, decodeNBits } from './gguf-blocks.ts';

const typeOf = (name: string) => [...GGML_TYPES.values()].find((type) => type.name === name)!;
const half = (bytes: Uint8Array, at: number): number => float16ToFloat32(Uint16Array.of(bytes[at]! | (bytes[at + 1]! << 8)))[0]!;
/** Finite scales, anything else. */
const blocksOf = (name: string, halvesAt: readonly number[]): fc.Arbitrary<Uint8Array> =>
  fc.tuple(fc.uint8Array({ minLength: typeOf(name).blockBytes, maxLength: typeOf(name).blockBytes }), fc.array(fc.float({ min: -4, max: 4, noNaN: true }), { minLength: 2, maxLength: 2 })).map(([bytes, scales]) => {
    halvesAt.forEach((at, i) => {
      const word = float32ToFloat16(Float32Array.of(scales[i]!))[0]!;
      bytes[at] = word & 255;
      bytes[at + 1] = word >> 8;
    });
    return bytes;
  });

/** The published formulas, one value at a time. */
const REFERENCE: Readonly<Record<string, readonly [halvesAt: readonly number[], value: (b: Uint8Array, i: number) => number]>> = {
  Q4_0: [[0], (b, i) => half(b, 0) * ((i < 16 ? b[2 + i]! & 15 : b[2 + i - 16]! >> 4) - 8)],
  Q4_1: [[0, 2], (b, i) => half(b, 0) * (i < 16 ? b[4 + i]! & 15 : b[4 + i - 16]! >> 4) + half(b, 2)],
  Q8_0: [[0], (b, i) => half(b, 0) * ((b[2 + i]! << 24) >> 24)],
  Q4_K: [
    [0, 2],
    (b, i) => {
      const j = Math.floor(i / 32);
      const s = b.subarray(4, 16);
      const scale = j < 4 ? s[j]! & 63 : (s[j + 4]! & 0xf) | ((s[j - 4]! >> 6) << 4);
      const min = j < 4 ? s[j + 4]! & 63 : (s[j + 4]! >> 4) | ((s[j]! >> 6) << 4);
      const byte = b[16 + 32 * Math.floor(i / 64) + (i % 32)]!;
      return half(b, 0) * scale * (i % 64 < 32 ? byte & 15 : byte >> 4) - half(b, 2) * min;
    },
  ],
  Q6_K: [
    [208],
    (b, i) => {
      const [n, within] = [Math.floor(i / 128), i % 128];
      const [quarter, l] = [Math.floor(within / 32), within % 32];
      const low = b[64 * n + (quarter % 2) * 32 + l]!;
      const q = ((quarter < 2 ? low & 15 : low >> 4) | (((b[128 + 32 * n + l]! >> (2 * quarter)) & 3) << 4)) - 32;
      return half(b, 208) * ((b[192 + Math.floor(i / 16)]! << 24) >> 24) * q;
    },
  ],
};

test.each(Object.keys(REFERENCE))('%s: every value is what its formula says, directly and by way of the integers', (name) => {
  const [halvesAt, value] = REFERENCE[name]!;
  const type = typeOf(name);
  fc.assert(
    fc.property(blocksOf(name, halvesAt), blocksOf(name, halvesAt), (first, second) => {
      const bytes = Uint8Array.from([...first, ...second]);
      const wanted = [first, second].flatMap((block) => Array.from({ length: type.blockSize }, (_, i) => value(block, i)));
      const largest = Math.max(...wanted.map(Math.abs), 1e-30);
      for (const got of [decodeBlocks(type, bytes), decodeNBits(asNBits(type, bytes))]) {
        expect(got).toHaveLength(wanted.length);
        const worst = Math.max(...wanted.map((x, i) => Math.abs(got[i]! - x)));
        expect(worst).toBeLessThanOrEqual(1e-6 * largest); // a float32 rounding or two
      }
    }),
    { numRuns: 25 },
  );
});

test('plain halves and floats are themselves, wherever they begin in memory', () => {
  const bytes = Uint8Array.of(0, 0x00, 0x3c, 0x00, 0xc0).subarray(1);
  expect([...decodeBlocks(typeOf('F16'), bytes)]).toEqual([1, -2]);
  expect([...decodeBlocks(typeOf('BF16'), Uint8Array.of(0x80, 0x3f))]).toEqual([1]);
  expect([...decodeBlocks(typeOf('F32'), Uint8Array.of(9, 0, 0, 0x80, 0x3f).subarray(1))]).toEqual([1]);
});
