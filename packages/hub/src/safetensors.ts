/**
 * safetensors: 8 bytes of header length, a JSON header, then the tensors' bytes
 * (https://github.com/huggingface/safetensors#format). Reading looks at the header only: a {@link FileTensor} says where
 * the bytes lie, and an engine may map them. Checks are those of the reference implementation, so a damaged file is
 * refused before anything is loaded. Writing is in `safetensors-write.ts`.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  BYTES_PER_ELEMENT,
  QuerentError,
  elementCount,
  isFileTensor,
  isQuerentError,
  viewAs,
  type DType,
  type FileTensor,
  type ParameterData,
  type ParameterSet,
  type TensorData,
} from '@querent/core';
import { fileError } from './file-error.ts';
import { loadGgufFloats } from './gguf-load.ts';
import { isGgufTensor } from './gguf-model.ts';
import { bfloat16ToFloat32, float16ToFloat32 } from './float16.ts';
import { isJsonObject, readJsonObject, type JsonObject } from './json-file.ts';

/** What a file's header says. */
export interface SafetensorsFile {
  readonly file: string;
  /** In the order of the header; of all shards for an index. */
  readonly tensors: ReadonlyMap<string, FileTensor>;
  /** `__metadata__`, or an index's `metadata` turned to strings; empty when absent. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** safetensors' names of the dtypes that are read. */
const DTYPES: ReadonlyMap<unknown, DType> = new Map([
  ['F32', 'float32'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['F64', 'float64'],
  ['I64', 'int64'],
  ['I32', 'int32'],
  ['I8', 'int8'],
  ['U8', 'uint8'],
  ['BOOL', 'bool'],
]);

/** The reference implementation's limit. */
const HEADER_LIMIT_BYTES = 100_000_000;

/**
 * Reads the header of a `.safetensors` file, or of all shards of a `.safetensors.index.json`.
 * @throws QuerentError QRT_FILE when it cannot be opened, QRT_CHECKPOINT_FORMAT when it is damaged, truncated or of another kind.
 */
export async function readSafetensors(file: string): Promise<SafetensorsFile> {
  if (file.endsWith('.json')) return readIndex(file);
  refusePickle(file);
  return withFile(file, async (handle, size) => {
    if (size < 8) throw damaged(file, `it has ${size} bytes, the header length alone takes 8`);
    const prefix = await readBytes(handle, file, 0, 8);
    const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
    if (length > BigInt(HEADER_LIMIT_BYTES)) throw damaged(file, `it announces a header of ${length} bytes, at most ${HEADER_LIMIT_BYTES} are allowed`);
    if (length > BigInt(size - 8)) throw damaged(file, `it announces a header of ${length} bytes and has only ${size - 8} more: it is truncated`);
    const header = parseHeader(file, await readBytes(handle, file, 8, Number(length)));
    const start = 8 + Number(length);
    return { file, tensors: tensorsOf(file, header, start, size - start), metadata: metadataOf(file, header['__metadata__']) };
  });
}

/**
 * Loads one tensor. Its memory is the caller's.
 * @throws QuerentError QRT_FILE, or QRT_CHECKPOINT_FORMAT when the file has become shorter.
 */
export async function loadTensor(tensor: FileTensor): Promise<TensorData> {
  if (isGgufTensor(tensor)) return loadGgufFloats(tensor);
  return withFile(tensor.file, (handle, size) => loadFrom(handle, size, tensor));
}

/** Loads what still lies in files, opening each file once and reading it from front to back; order of names is kept. */
export async function loadTensors(parameters: ParameterSet): Promise<Map<string, TensorData>> {
  const loaded = new Map<string, TensorData>();
  const byFile = new Map<string, [string, FileTensor][]>();
  for (const [name, parameter] of parameters) {
    if (!isFileTensor(parameter)) loaded.set(name, parameter);
    else byFile.set(parameter.file, [...(byFile.get(parameter.file) ?? []), [name, parameter]]);
  }
  for (const [file, tensors] of byFile) {
    tensors.sort(([, a], [, b]) => a.offset - b.offset);
    await withFile(file, async (handle, size) => {
      for (const [name, tensor] of tensors) loaded.set(name, isGgufTensor(tensor) ? await loadGgufFloats(tensor) : await loadFrom(handle, size, tensor));
    });
  }
  const ordered = new Map<string, TensorData>();
  for (const name of parameters.keys()) {
    const tensor = loaded.get(name);
    if (tensor !== undefined) ordered.set(name, tensor);
  }
  return ordered;
}

/** Any numeric tensor as float32, loading it first when it lies in a file. A float32 tensor in memory is returned as it is. */
export async function toFloat32(parameter: ParameterData): Promise<TensorData<'float32'>> {
  return asFloat32(isFileTensor(parameter) ? await loadTensor(parameter) : parameter);
}

/** {@link toFloat32} for what is in memory. float64 and integers are rounded to the nearest float32. */
export function asFloat32(tensor: TensorData): TensorData<'float32'> {
  return { dtype: 'float32', shape: tensor.shape, data: float32Values(tensor) };
}

function float32Values(tensor: TensorData): Float32Array {
  const { data, dtype } = tensor;
  if (data instanceof Float32Array) return data;
  if (data instanceof BigInt64Array) return Float32Array.from(data, Number);
  if (data instanceof Uint16Array) return dtype === 'bfloat16' ? bfloat16ToFloat32(data) : float16ToFloat32(data);
  return Float32Array.from(data);
}

/** Refuses files that run code when they are read, with the way out. */
export function refusePickle(file: string): void {
  if (!/\.(bin|pt|pth|ckpt|pkl|pickle)$/i.test(file)) return;
  throw new QuerentError(
    'QRT_CHECKPOINT_FORMAT',
    `${file} looks like a Python pickle: reading one can run any code that is hidden in it, so it is refused.`,
    {
      fix: 'Convert it once, where you trust it, with Python: `AutoModel.from_pretrained(folder).save_pretrained(folder, safe_serialization=True)`.',
      details: { file },
    },
  );
}

// --- header ---

function parseHeader(file: string, bytes: Uint8Array): JsonObject {
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    header = JSON.parse(text);
  } catch (cause) {
    throw damaged(file, `its header is not JSON in UTF-8 (${cause instanceof Error ? cause.message : String(cause)})`, cause);
  }
  if (!isJsonObject(header)) throw damaged(file, 'its header is not a JSON object');
  const twice = firstDuplicateKey(text);
  if (twice !== undefined) throw damaged(file, `its header has the name ${JSON.stringify(twice)} twice`);
  return header;
}

/** The first key that the outermost object of valid JSON has twice: `JSON.parse` would silently take the last. */
function firstDuplicateKey(text: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  let last = '';
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '{' || character === '[') depth++;
    else if (character === '}' || character === ']') depth--;
    else if (character === '"') {
      const start = i++;
      while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1; // the text is valid JSON, so the string ends
      if (depth === 1) last = text.slice(start, i + 1);
    } else if (character === ':' && depth === 1) {
      const key = String(JSON.parse(last));
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}

function tensorsOf(file: string, header: JsonObject, start: number, dataBytes: number): Map<string, FileTensor> {
  const tensors = new Map<string, FileTensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name !== '__metadata__') tensors.set(name, tensorOf(file, name, entry, start, dataBytes));
  }
  // The data must be covered exactly: no overlap, no hole, nothing behind.
  let end = start;
  for (const [name, tensor] of [...tensors].sort(([, a], [, b]) => a.offset - b.offset || a.byteLength - b.byteLength)) {
    if (tensor.offset < end) throw damaged(file, `tensor ${name} overlaps the one before it`);
    if (tensor.offset > end) throw damaged(file, `${tensor.offset - end} bytes before tensor ${name} belong to no tensor`);
    end = tensor.offset + tensor.byteLength;
  }
  if (end !== start + dataBytes) throw damaged(file, `its last ${start + dataBytes - end} bytes belong to no tensor`);
  return tensors;
}

function tensorOf(file: string, name: string, entry: unknown, start: number, dataBytes: number): FileTensor {
  const bad = (what: string): QuerentError => damaged(file, `tensor ${name}: ${what}`);
  if (!isJsonObject(entry)) throw bad('its entry is not an object');
  const dtype = DTYPES.get(entry['dtype']);
  if (dtype === undefined) throw bad(`dtype ${JSON.stringify(entry['dtype'])} is not read (${[...DTYPES.keys()].join(', ')} are)`);
  const shape = naturals(entry['shape']);
  if (shape === undefined) throw bad('its shape is not a list of whole numbers');
  const [from, to, ...more] = naturals(entry['data_offsets']) ?? [];
  if (from === undefined || to === undefined || more.length > 0) throw bad('data_offsets are not two whole numbers');
  if (from > to || to > dataBytes) throw bad(`data_offsets [${from}, ${to}] leave the ${dataBytes} data bytes of the file: it is truncated or damaged`);
  const expected = elementCount(shape) * BYTES_PER_ELEMENT[dtype];
  if (!Number.isSafeInteger(expected) || to - from !== expected) {
    throw bad(`${dtype} [${shape.join(', ')}] takes ${expected} bytes, its data_offsets hold ${to - from}`);
  }
  return { dtype, shape, file, offset: start + from, byteLength: expected };
}

function naturals(value: unknown): number[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const list: readonly unknown[] = value;
  const isNatural = (item: unknown): item is number => Number.isSafeInteger(item) && Number(item) >= 0;
  return list.every(isNatural) ? [...list] : undefined;
}

function metadataOf(file: string, value: unknown): Record<string, string> {
  if (value === undefined) return {};
  if (!isJsonObject(value)) throw damaged(file, '__metadata__ is not an object');
  const metadata: [string, string][] = [];
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw damaged(file, `__metadata__ ${JSON.stringify(key)} is not a string`);
    metadata.push([key, text]);
  }
  return Object.fromEntries(metadata);
}

// --- shards ---

async function readIndex(file: string): Promise<SafetensorsFile> {
  const index = await readJsonObject(file);
  const map = index['weight_map'];
  if (!isJsonObject(map)) throw damaged(file, 'it has no weight_map from tensor names to files');
  const shards = new Map<string, SafetensorsFile>();
  const tensors = new Map<string, FileTensor>();
  for (const [name, shardName] of Object.entries(map)) {
    if (typeof shardName !== 'string' || !/^[^/\\]+\.safetensors$/.test(shardName)) {
      throw damaged(file, `weight_map names ${JSON.stringify(shardName)} for ${name}; a .safetensors file beside it was expected`);
    }
    let shard = shards.get(shardName);
    if (shard === undefined) {
      shard = await readSafetensors(join(dirname(file), shardName));
      shards.set(shardName, shard);
    }
    const tensor = shard.tensors.get(name);
    if (tensor === undefined) throw damaged(file, `tensor ${name} is not in ${shardName}, where weight_map puts it`);
    tensors.set(name, tensor);
  }
  const metadata = isJsonObject(index['metadata']) ? index['metadata'] : {};
  return { file, tensors, metadata: Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, String(value)])) };
}

// --- bytes ---

const PIECE = 1 << 30; // one read call takes less than 2 GiB

async function withFile<T>(file: string, use: (handle: FileHandle, size: number) => Promise<T>): Promise<T> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, 'r');
    const status = await handle.stat();
    if (!status.isFile()) throw damaged(file, 'it is not a file');
    return await use(handle, status.size);
  } catch (cause) {
    throw isQuerentError(cause) ? cause : fileError('read', file, cause);
  } finally {
    await handle?.close();
  }
}

async function loadFrom(handle: FileHandle, size: number, tensor: FileTensor): Promise<TensorData> {
  if (tensor.offset + tensor.byteLength > size) {
    throw damaged(tensor.file, `bytes ${tensor.offset} to ${tensor.offset + tensor.byteLength} were expected, it has ${size}: it is truncated`);
  }
  const bytes = await readBytes(handle, tensor.file, tensor.offset, tensor.byteLength);
  return { dtype: tensor.dtype, shape: tensor.shape, data: viewAs(tensor.dtype, bytes) };
}

async function readBytes(handle: FileHandle, file: string, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, Math.min(PIECE, length - done), offset + done);
    if (bytesRead === 0) throw damaged(file, `it ends ${length - done} bytes too early: it is truncated`);
    done += bytesRead;
  }
  return bytes;
}

function damaged(file: string, what: string, cause?: unknown): QuerentError {
  return new QuerentError('QRT_CHECKPOINT_FORMAT', `${file} is not a sound safetensors file: ${what}.`, {
    fix: 'Copy or download it again; compare its size with the source.',
    details: { file },
    cause,
  });
}
