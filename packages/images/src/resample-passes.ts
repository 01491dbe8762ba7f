/**
 * The two passes of `resample.ts` over RGB bytes: plain 32-bit integer loops, where nearly all the time of a resize goes.
 * A sum starts at one half so that the shift rounds; a pixel times its weights stays within 32 bits.
 */
import { PRECISION_BITS } from './resample-coefficients.ts';
import type { Coefficients } from './resample-coefficients.ts';

const HALF = 1 << (PRECISION_BITS - 1);

/** Rows `firstRow` to `endRow` (exclusive) of `source`, each `sourceWidth` wide, to `width` pixels. uint8 `[rows, width, 3]`. */
export function horizontalPass(
  source: Uint8Array,
  sourceWidth: number,
  firstRow: number,
  endRow: number,
  width: number,
  { taps, starts, counts, weights }: Coefficients,
): Uint8Array {
  const out = new Uint8ClampedArray((endRow - firstRow) * width * 3);
  let to = 0;
  for (let y = firstRow; y < endRow; y++) {
    const line = y * sourceWidth * 3;
    for (let x = 0; x < width; x++) {
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      let from = line + starts[x]! * 3;
      const first = x * taps;
      const end = first + counts[x]!;
      for (let t = first; t < end; t++) {
        const weight = weights[t]!;
        red = (red + Math.imul(source[from]!, weight)) | 0;
        green = (green + Math.imul(source[from + 1]!, weight)) | 0;
        blue = (blue + Math.imul(source[from + 2]!, weight)) | 0;
        from += 3;
      }
      out[to] = red >> PRECISION_BITS;
      out[to + 1] = green >> PRECISION_BITS;
      out[to + 2] = blue >> PRECISION_BITS;
      to += 3;
    }
  }
  return new Uint8Array(out.buffer);
}

/** `rows`, `width` wide, whose first row is row `firstRow` of the source, to `height` rows. uint8 `[height, width, 3]`. */
export function verticalPass(
  rows: Uint8Array,
  width: number,
  firstRow: number,
  height: number,
  { taps, starts, counts, weights }: Coefficients,
): Uint8Array {
  const stride = width * 3;
  const out = new Uint8ClampedArray(height * stride);
  let to = 0;
  for (let y = 0; y < height; y++) {
    const top = (starts[y]! - firstRow) * stride;
    const first = y * taps;
    const end = first + counts[y]!;
    for (let x = 0; x < stride; x++) {
      let sum = HALF;
      let from = top + x;
      for (let t = first; t < end; t++) {
        sum = (sum + Math.imul(rows[from]!, weights[t]!)) | 0;
        from += stride;
      }
      out[to++] = sum >> PRECISION_BITS;
    }
  }
  return new Uint8Array(out.buffer);
}
