/** Writes small GGUF files, whatever they say: for tests. */

/** A value with the type that it is written as. */
export type Written =
  | { readonly type: 'u8' | 'u16' | 'u32' | 'i32' | 'f32' | 'u64'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'i32s' | 'f32s'; readonly value: readonly number[] };

export interface WrittenTensor {
  readonly name: string;
  /** GGML's number of the type. */
  readonly type: number;
  /** Row-major, as everywhere but in the file. */
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
  /** Written in place of the true offset. */
  readonly offset?: number;
}

const TYPE = { u8: 0, u16: 2, u32: 4, i32: 5, f32: 6, bool: 7, string: 8, u64: 10 } as const;

export function ggufBytes(metadata: Readonly<Record<string, Written>>, tensors: readonly WrittenTensor[], version = 3, alignment = 32): Buffer {
  const parts: Buffer[] = [];
  const u32 = (value: number): void => void parts.push(number(4, (b) => b.writeUInt32LE(value)));
  const u64 = (value: number): void => void parts.push(number(8, (b) => b.writeBigUInt64LE(BigInt(value))));
  const string = (value: string): void => {
    u64(Buffer.byteLength(value));
    parts.push(Buffer.from(value));
  };
  parts.push(Buffer.from('GGUF'));
  u32(version);
  u64(tensors.length);
  u64(Object.keys(metadata).length);
  for (const [key, written] of Object.entries(metadata)) {
    string(key);
    if (written.type === 'strings' || written.type === 'i32s' || written.type === 'f32s') {
      u32(9);
      u32(written.type === 'strings' ? 8 : written.type === 'i32s' ? 5 : 6);
      u64(written.value.length);
      for (const value of written.value) {
        if (typeof value === 'string') string(value);
        else parts.push(number(4, (b) => (written.type === 'i32s' ? b.writeInt32LE(value) : b.writeFloatLE(value))));
      }
      continue;
    }
    u32(TYPE[written.type]);
    if (written.type === 'string') string(written.value);
    else if (written.type === 'u64') u64(written.value);
    else if (written.type === 'f32') parts.push(number(4, (b) => b.writeFloatLE(written.value)));
    else if (written.type === 'i32') parts.push(number(4, (b) => b.writeInt32LE(written.value)));
    else if (written.type === 'u16') parts.push(number(2, (b) => b.writeUInt16LE(written.value)));
    else if (written.type === 'u32') u32(written.value);
    else parts.push(Buffer.of(Number(written.value)));
  }
  const aligned = (n: number): number => Math.ceil(n / alignment) * alignment;
  let offset = 0;
  for (const { name, type, shape, bytes, offset: given } of tensors) {
    string(name);
    u32(shape.length);
    for (const dim of [...shape].reverse()) u64(dim);
    u32(type);
    u64(given ?? offset);
    offset = aligned(offset + bytes.length);
  }
  const header = Buffer.concat(parts);
  const data = tensors.map(({ bytes }) => Buffer.concat([bytes, Buffer.alloc(aligned(bytes.length) - bytes.length)]));
  return Buffer.concat([header, Buffer.alloc(aligned(header.length) - header.length), ...data]);
}

function number(bytes: number, write: (buffer: Buffer) => void): Buffer {
  const buffer = Buffer.alloc(bytes);
  write(buffer);
  return buffer;
}

/** llama.cpp's order of query and key rows: (head, half, pair) → (head, pair, half). */
export function interleaveHeads(values: Float32Array, rows: number, heads: number): Float32Array {
  const width = values.length / rows;
  const pairs = rows / heads / 2;
  const out = new Float32Array(values.length);
  for (let h = 0; h < heads; h++) {
    for (let half = 0; half < 2; half++) {
      for (let pair = 0; pair < pairs; pair++) {
        const from = (h * 2 + half) * pairs + pair;
        out.set(values.subarray(from * width, (from + 1) * width), ((h * pairs + pair) * 2 + half) * width);
      }
    }
  }
  return out;
}

const asBytes = (values: Float32Array): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** A float32 tensor. */
export function f32Tensor(name: string, shape: readonly number[], values: Float32Array): WrittenTensor {
  return { name, type: 0, shape, bytes: asBytes(values) };
}
