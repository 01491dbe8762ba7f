/** Unit vectors as bytes: int8 with a scale each, so that 100,000 images of 16 x 128 take 205 MB and a cosine is off by about 0.001. */

/** Vectors are padded with zeros to whole blocks: what the kernel takes at a time. */
export const BLOCK = 16;

/** The length that a vector has in memory and on disk. */
export function paddedLength(shared: number): number {
  return Math.ceil(shared / BLOCK) * BLOCK;
}

export interface QuantisedVectors {
  /** int8 [vectors, padded] */
  readonly data: Int8Array;
  /** float32 [vectors]: value = scale * int8 */
  readonly scales: Float32Array;
}

/** Rounds each vector to int8 by its own largest value. @param vectors float32 [vectors, shared] */
export function quantise(vectors: Float32Array, shared: number): QuantisedVectors {
  const count = vectors.length / shared;
  const padded = paddedLength(shared);
  const data = new Int8Array(count * padded);
  const scales = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const vector = vectors.subarray(i * shared, (i + 1) * shared);
    const scale = largestMagnitude(vector) / 127;
    scales[i] = scale;
    if (scale > 0) for (let k = 0; k < shared; k++) data[i * padded + k] = Math.round(vector[k]! / scale);
  }
  return { data, scales };
}

/** Largest number that a query's int16 takes: see wasm/build.mjs for why it is not more. */
const QUERY_RANGE = 8191;

/** Query vectors as int16 [vectors, padded] under one scale: value = scale * int16. Finer than the rows, so that their rounding is the only one that counts. */
export function quantiseQuery(vectors: Float32Array, shared: number): { readonly data: Int16Array; readonly scale: number } {
  const padded = paddedLength(shared);
  const count = vectors.length / shared;
  const data = new Int16Array(count * padded);
  const scale = largestMagnitude(vectors) / QUERY_RANGE;
  if (scale > 0) for (let i = 0; i < count; i++) for (let k = 0; k < shared; k++) data[i * padded + k] = Math.round(vectors[i * shared + k]! / scale);
  return { data, scale };
}

function largestMagnitude(values: Float32Array): number {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  return largest;
}
