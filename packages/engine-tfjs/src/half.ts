/** Half precision to float32: IEEE binary16 (1 sign, 5 exponent, 10 fraction bits) and bfloat16 (a float32's upper half). */

/** float16 words as float32. */
export function float16ToFloat32(words: Uint16Array): Float32Array {
  return Float32Array.from(words, (bits) => {
    const sign = bits & 0x8000 ? -1 : 1;
    const [exponent, fraction] = [(bits >> 10) & 0x1f, bits & 0x3ff];
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}

/** bfloat16 words as float32. */
export function bfloat16ToFloat32(words: Uint16Array): Float32Array {
  return new Float32Array(Uint32Array.from(words, (bits) => bits << 16).buffer);
}
