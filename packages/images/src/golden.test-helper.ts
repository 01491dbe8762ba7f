/** Reads the golden fixtures of `test/goldens/v1` for this package's tests. */
import { readFileSync } from 'node:fs';

const ROOT = new URL('../../../test/goldens/v1/', import.meta.url);

export interface GoldenTensor {
  readonly shape: readonly number[];
  readonly data: Uint8Array | Float32Array;
}

export function goldenFile(path: string): Uint8Array {
  return readFileSync(new URL(path, ROOT));
}

export function goldenJson(path: string): unknown {
  return JSON.parse(readFileSync(new URL(path, ROOT), 'utf8'));
}

/** U8 and F32 tensors of a safetensors file. */
export function goldenTensors(path: string): Map<string, GoldenTensor> {
  const bytes = readFileSync(new URL(path, ROOT));
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  // The fixture's own header: trusted.
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
  delete header['__metadata__'];
  return new Map(
    Object.entries(header).map(([name, { dtype, shape, data_offsets: [from, to] }]) => {
      const data = Uint8Array.from(bytes.subarray(start + from, start + to));
      return [name, { shape, data: dtype === 'F32' ? new Float32Array(data.buffer) : data }];
    }),
  );
}
