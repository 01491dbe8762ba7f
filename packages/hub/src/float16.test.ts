import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './float16.ts';

const every = Uint16Array.from({ length: 65536 }, (_, i) => i);
const isNan16 = (word: number): boolean => (word & 0x7fff) > 0x7c00;

test('every float16 that is not NaN survives the way to float32 and back', () => {
  const back = float32ToFloat16(float16ToFloat32(every));
  for (const word of every) expect(isNan16(word) ? isNan16(back[word] ?? 0) : back[word] === word).toBe(true);
});

test('every bfloat16 that is not NaN survives the way to float32 and back', () => {
  const wide = bfloat16ToFloat32(every);
  const back = float32ToBfloat16(wide);
  for (const word of every) expect(Number.isNaN(wide[word]) || back[word] === word).toBe(true);
  expect(Number.isNaN(bfloat16ToFloat32(float32ToBfloat16(Float32Array.of(NaN)))[0])).toBe(true);
});

test('float16 knows its landmarks', () => {
  const values = Float32Array.of(1, -2, 65504, 65519, 65520, 2 ** -14, 2 ** -24, 2 ** -25, 3 * 2 ** -26, -0, Infinity, 1 + 2 ** -11, 1 + 3 * 2 ** -11);
  expect([...float32ToFloat16(values)]).toEqual([
    0x3c00, 0xc000, 0x7bff, 0x7bff, 0x7c00, 0x0400, 0x0001, 0, 0x0001, 0x8000, 0x7c00, 0x3c00, 0x3c02,
  ]);
});

// The nearest of all representable values, ties to the even word: found by bisection over the positive words.
function nearest(x: number, widen: (words: Uint16Array) => Float32Array, infinity: number): number {
  const at = (word: number): number => (word === infinity ? 2 * at(infinity - 1) - at(infinity - 2) : widen(Uint16Array.of(word))[0] ?? NaN);
  let low = 0;
  let high = infinity;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (at(middle) <= x) low = middle;
    else high = middle;
  }
  const below = x - at(low);
  const above = at(high) - x;
  if (below === above) return low % 2 === 0 ? low : high;
  return below < above ? low : high;
}

test('narrowing gives the nearest value, ties to even', () => {
  fc.assert(
    fc.property(fc.oneof(fc.float({ min: 0, max: 65535, noNaN: true }), fc.float({ min: 0, max: Math.fround(1e-4), noNaN: true })), (x) => {
      const value = Math.abs(x);
      expect(float32ToFloat16(Float32Array.of(value))[0]).toBe(nearest(value, float16ToFloat32, 0x7c00));
      expect(float32ToBfloat16(Float32Array.of(value))[0]).toBe(nearest(value, bfloat16ToFloat32, 0x7f80));
    }),
    { numRuns: 2000 },
  );
});
