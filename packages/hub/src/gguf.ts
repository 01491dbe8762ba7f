/**
 * GGUF, the container of llama.cpp (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), versions 2 and 3, little-endian:
 * metadata, then one entry a tensor, then the tensors' bytes. Reading looks at everything but the bytes. Nothing in a file is
 * believed before it is checked against the file's own size: counts, lengths, offsets, and that no two tensors share bytes.
 * How blocks encode values is `gguf-blocks.ts`; what the file means as a model is `gguf-model.ts`.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { QuerentError, elementCount, isQuerentError } from '@querent/core';
import { fileError } from './file-error.ts';
import { GGML_TYPES, type GgmlType } from './gguf-blocks.ts';

/** A metadata value. 64-bit integers are numbers where they are exact, else bigints; arrays of numbers are typed arrays. */
export type GgufValue = number | bigint | boolean | string | GgufNumbers | readonly GgufValue[];
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

/** Where a tensor's bytes lie. */
export interface GgufTensor {
  readonly name: string;
  readonly type: GgmlType;
  /** Row-major, outermost axis first: the reverse of the file's order. */
  readonly shape: readonly number[];
  /** From the file's beginning, in bytes. */
  readonly offset: number;
  readonly byteLength: number;
}

/** Everything but the tensors' bytes. */
export interface GgufFile {
  readonly file: string;
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/** Metadata and tensor entries may take so many bytes: the largest vocabularies take about a tenth of it. */
const HEADER_LIMIT_BYTES = 128 * 2 ** 20;
const FIRST_READ_BYTES = 2 ** 20;
const DEFAULT_ALIGNMENT = 32;
const MOST_AXES = 4;
const MOST_NESTING = 3;

/**
 * Reads the header of a `.gguf` file.
 * @throws QuerentError QRT_FILE when it cannot be opened, QRT_CHECKPOINT_FORMAT when it is damaged, truncated, big-endian, of
 *   version 1, or holds tensors of a type that is not read.
 */
export async function readGguf(file: string): Promise<GgufFile> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, 'r');
    const status = await handle.stat();
    if (!status.isFile()) throw damagedGguf(file, 'it is not a file');
    const { size } = status;
    const most = Math.min(size, HEADER_LIMIT_BYTES);
    // The header does not say how long it is: read more until it fits.
    for (let length = Math.min(most, FIRST_READ_BYTES); ; length = Math.min(most, length * 4)) {
      const bytes = await readStart(handle, file, length);
      try {
        return parseGguf(bytes, size, file);
      } catch (error) {
        if (!(error instanceof HeaderGoesOn)) throw error;
        if (length === size) throw damagedGguf(file, `it ends inside its header (${size} bytes): it is truncated`);
        if (length === most) throw damagedGguf(file, `its header takes more than ${HEADER_LIMIT_BYTES} bytes`);
      }
    }
  } catch (cause) {
    throw isQuerentError(cause) ? cause : fileError('read', file, cause);
  } finally {
    await handle?.close();
  }
}

/** Thrown where the header needs bytes that have not been read. */
class HeaderGoesOn extends Error {}

/** @param size of the whole file, of which `bytes` is the beginning */
function parseGguf(bytes: Uint8Array, size: number, file: string): GgufFile {
  const reader = new Reader(bytes, size, file);
  if (reader.uint32() !== 0x46554747) throw damagedGguf(file, 'it does not begin with "GGUF"');
  const version = reader.uint32();
  if (version === 0x02000000 || version === 0x03000000) throw damagedGguf(file, 'it is big-endian, which is not read');
  if (version !== 2 && version !== 3) throw damagedGguf(file, `it is of version ${version}; 2 and 3 are read`);
  const tensorCount = reader.count(8 + 4 + 8 + 4 + 8, 'tensors');
  const pairCount = reader.count(8 + 4 + 1, 'metadata entries');

  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < pairCount; i++) {
    const key = reader.string();
    if (metadata.has(key)) throw damagedGguf(file, `its metadata has ${JSON.stringify(key)} twice`);
    metadata.set(key, reader.value(reader.uint32(), 0));
  }
  const alignment = metadata.get('general.alignment') ?? DEFAULT_ALIGNMENT;
  if (typeof alignment !== 'number' || !Number.isInteger(alignment) || alignment < 8 || alignment > 2 ** 20 || alignment % 8 !== 0) {
    throw damagedGguf(file, `general.alignment is ${String(alignment).slice(0, 40)}; a multiple of 8 is expected`);
  }

  const entries: GgufTensor[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const entry = tensorEntry(reader, file);
    if (names.has(entry.name)) throw damagedGguf(file, `it has tensor ${JSON.stringify(entry.name)} twice`);
    names.add(entry.name);
    entries.push(entry);
  }
  const start = Math.ceil(reader.at / alignment) * alignment;
  const tensors = new Map<string, GgufTensor>();
  for (const entry of entries) {
    if (entry.offset % alignment !== 0) throw damagedGguf(file, `tensor ${entry.name} begins at ${entry.offset}, which is no multiple of ${alignment}`);
    const offset = start + entry.offset;
    if (!Number.isSafeInteger(offset) || offset + entry.byteLength > size) {
      throw damagedGguf(file, `tensor ${entry.name} takes bytes ${offset} to ${offset + entry.byteLength} and the file has ${size}: it is truncated`);
    }
    tensors.set(entry.name, { ...entry, offset });
  }
  refuseOverlaps([...tensors.values()], file);
  return { file, version, metadata, tensors };
}

function tensorEntry(reader: Reader, file: string): GgufTensor {
  const name = reader.string();
  const axes = reader.uint32();
  if (axes < 1 || axes > MOST_AXES) throw damagedGguf(file, `tensor ${JSON.stringify(name)} has ${axes} axes; 1 to ${MOST_AXES} are read`);
  const dims = Array.from({ length: axes }, () => reader.uint64());
  const number = reader.uint32();
  const type = GGML_TYPES.get(number);
  if (type === undefined) {
    const read = [...GGML_TYPES.values()].map((known) => known.name).join(', ');
    throw damagedGguf(file, `tensor ${JSON.stringify(name)} is of type ${number}; ${read} are read`, 'Take a file in one of these types: Q4_0, Q4_K_M and Q8_0 are published for most models.');
  }
  const shape = dims.reverse();
  const elements = elementCount(shape);
  const row = shape.at(-1) ?? 0;
  if (!Number.isSafeInteger(elements) || elements === 0) throw damagedGguf(file, `tensor ${JSON.stringify(name)} has the shape [${shape.join(', ')}]`);
  if (row % type.blockSize !== 0) throw damagedGguf(file, `tensor ${JSON.stringify(name)} has rows of ${row}, which ${type.name} cannot divide into blocks of ${type.blockSize}`);
  return { name, type, shape, offset: reader.uint64(), byteLength: (elements / type.blockSize) * type.blockBytes };
}

/** Tensors that share bytes could announce more values than the file can hold. */
function refuseOverlaps(tensors: GgufTensor[], file: string): void {
  tensors.sort((a, b) => a.offset - b.offset);
  for (let i = 1; i < tensors.length; i++) {
    const [before, after] = [tensors[i - 1], tensors[i]];
    if (before !== undefined && after !== undefined && before.offset + before.byteLength > after.offset) {
      throw damagedGguf(file, `tensors ${before.name} and ${after.name} share bytes`);
    }
  }
}

const STRING = 8;
const ARRAY = 9;

/** Bytes of the fixed-size value types; `bool` is 7. */
const VALUE_BYTES: Readonly<Record<number, number>> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };

/** The header's bytes from front to back. Positions stay below the header's limit; lengths are checked against the file's size. */
class Reader {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #size: number;
  readonly #file: string;
  readonly #text: InstanceType<typeof TextDecoder> = new TextDecoder('utf-8', { ignoreBOM: true });

  constructor(bytes: Uint8Array, size: number, file: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#size = size;
    this.#file = file;
  }

  /** Moves on; where the bytes began. */
  #take(length: number): number {
    const from = this.at;
    if (from + length > this.#size) throw damagedGguf(this.#file, `${length} bytes are announced at ${from} and the file has ${this.#size}: it is truncated or damaged`);
    if (from + length > this.#bytes.length) throw new HeaderGoesOn();
    this.at += length;
    return from;
  }

  uint32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  uint64(): number {
    const value = this.#view.getBigUint64(this.#take(8), true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw damagedGguf(this.#file, `it announces ${value}, more than any file holds`);
    return Number(value);
  }

  /** A count of things that take at least `least` bytes each. */
  count(least: number, what: string): number {
    const count = this.uint64();
    if (count * least > this.#size - this.at) throw damagedGguf(this.#file, `it announces ${count} ${what} and has only ${this.#size - this.at} more bytes`);
    return count;
  }

  string(): string {
    const length = this.uint64();
    const from = this.#take(length);
    return this.#text.decode(this.#bytes.subarray(from, from + length));
  }

  value(type: number, depth: number): GgufValue {
    if (type === STRING) return this.string();
    if (type === ARRAY) return this.#array(depth);
    const length = VALUE_BYTES[type];
    if (length === undefined) throw damagedGguf(this.#file, `a metadata value is of type ${type}, which GGUF does not have`);
    const at = this.#take(length);
    const view = this.#view;
    switch (type) {
      case 0:
        return view.getUint8(at);
      case 1:
        return view.getInt8(at);
      case 2:
        return view.getUint16(at, true);
      case 3:
        return view.getInt16(at, true);
      case 4:
        return view.getUint32(at, true);
      case 5:
        return view.getInt32(at, true);
      case 6:
        return view.getFloat32(at, true);
      case 7:
        return view.getUint8(at) !== 0;
      case 10:
        return exact(view.getBigUint64(at, true));
      case 11:
        return exact(view.getBigInt64(at, true));
      default:
        return view.getFloat64(at, true);
    }
  }

  #array(depth: number): GgufValue {
    const type = this.uint32();
    if (type === STRING || type === ARRAY) {
      if (depth >= MOST_NESTING) throw damagedGguf(this.#file, `its metadata nests arrays more than ${MOST_NESTING} deep`);
      const count = this.count(type === STRING ? 8 : 12, 'array elements');
      const values: GgufValue[] = []; // grows with what is really there
      for (let i = 0; i < count; i++) values.push(this.value(type, depth + 1));
      return values;
    }
    const width = VALUE_BYTES[type];
    if (width === undefined) throw damagedGguf(this.#file, `a metadata array is of type ${type}, which GGUF does not have`);
    const count = this.count(width, 'array elements');
    const from = this.#take(count * width);
    return numbers(type, this.#bytes.slice(from, from + count * width)); // a copy, which is aligned
  }
}

function numbers(type: number, { buffer }: Uint8Array): GgufNumbers {
  switch (type) {
    case 1:
      return new Int8Array(buffer);
    case 2:
      return new Uint16Array(buffer);
    case 3:
      return new Int16Array(buffer);
    case 4:
      return new Uint32Array(buffer);
    case 5:
      return new Int32Array(buffer);
    case 6:
      return new Float32Array(buffer);
    case 10:
      return new BigUint64Array(buffer);
    case 11:
      return new BigInt64Array(buffer);
    case 12:
      return new Float64Array(buffer);
    default:
      return new Uint8Array(buffer); // uint8 and bool
  }
}

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

async function readStart(handle: FileHandle, file: string, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, done);
    if (bytesRead === 0) throw damagedGguf(file, `it ends ${length - done} bytes too early: it is truncated`);
    done += bytesRead;
  }
  return bytes;
}

/** QRT_CHECKPOINT_FORMAT about a GGUF file. */
export function damagedGguf(file: string, what: string, fix = 'Copy or download it again; compare its size with the source.'): QuerentError {
  return new QuerentError('QRT_CHECKPOINT_FORMAT', `${file} is not a GGUF file that is read: ${what}.`, { fix, details: { file } });
}
