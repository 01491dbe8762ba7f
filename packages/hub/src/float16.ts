/**
 * IEEE half precision and bfloat16, as 16-bit words in a Uint16Array. Narrowing rounds to nearest, ties to even; NaN
 * stays NaN, what is too large becomes infinity, subnormals are kept. Used by `safetensors.ts`.
 */

/** float32 bits → float16 bits. */
function halfOfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x47800000) {
    // 65536 and above, infinity, NaN (made quiet, its highest payload bits kept)
    return magnitude > 0x7f800000 ? sign | 0x7e00 | ((magnitude >>> 13) & 0x1ff) : sign | 0x7c00;
  }
  if (magnitude >= 0x38800000) {
    // A normal half: rebias the exponent, then round; a carry runs into the exponent as it should (65520 → infinity).
    const rebiased = magnitude - 0x38000000;
    return sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
  }
  if (magnitude <= 0x33000000) return sign; // up to 2^-25, the tie between 0 and the smallest subnormal
  const shift = 126 - (magnitude >>> 23);
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const kept = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const tie = 1 << (shift - 1);
  return sign | (kept + (rest > tie || (rest === tie && (kept & 1) === 1) ? 1 : 0));
}

/** float32 bits → bfloat16 bits. */
function bfloatOfBits(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** float16 bits → float32 value. */
function valueOfHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 0x1f;
  const mantissa = half & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

let halfTable: Float32Array | undefined;

/** All 65,536 halves widened: 256 KiB, made at the first use; a look-up beats arithmetic in bulk. */
function halves(): Float32Array {
  if (halfTable === undefined) {
    halfTable = new Float32Array(65536);
    for (let half = 0; half < 65536; half++) halfTable[half] = valueOfHalf(half);
  }
  return halfTable;
}

/** The bits of float32 values, without copying them. */
function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** float32 → float16 words. */
export function float32ToFloat16(values: Float32Array): Uint16Array {
  const bits = bitsOf(values);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = halfOfBits(bits[i] as number); // i is in range
  return out;
}

/** float16 words → float32, exact. */
export function float16ToFloat32(words: Uint16Array): Float32Array {
  const table = halves();
  const out = new Float32Array(words.length);
  for (let i = 0; i < out.length; i++) out[i] = table[words[i] as number] as number; // i is in range
  return out;
}

/** float32 → bfloat16 words. */
export function float32ToBfloat16(values: Float32Array): Uint16Array {
  const bits = bitsOf(values);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = bfloatOfBits(bits[i] as number); // i is in range
  return out;
}

/** bfloat16 words → float32, exact. */
export function bfloat16ToFloat32(words: Uint16Array): Float32Array {
  const out = new Float32Array(words.length);
  const bits = bitsOf(out);
  for (let i = 0; i < bits.length; i++) bits[i] = (words[i] as number) << 16; // i is in range
  return out;
}
