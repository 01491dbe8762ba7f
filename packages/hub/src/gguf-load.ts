/** The values of a GGUF tensor, in HuggingFace's arrangement: as floats, or as the small integers that the file holds. */
import { open } from 'node:fs/promises';
import { QuerentError, isQuerentError, type ParameterData, type TensorData } from '@querent/core';
import { fileError } from './file-error.ts';
import { damagedGguf } from './gguf.ts';
import { asNBits, decodeBlocks, type GgmlType, type NBits } from './gguf-blocks.ts';
import { isGgufTensor, type GgufFileTensor } from './gguf-model.ts';

/**
 * Float32 values in the tensor's own shape.
 * @throws QuerentError QRT_FILE, QRT_CHECKPOINT_FORMAT when the file has become shorter.
 */
export async function loadGgufFloats(tensor: GgufFileTensor): Promise<TensorData<'float32'>> {
  const { type, arrangement } = tensor.gguf;
  const data = decodeBlocks(type, arrangeRows(tensor, await readTensorBytes(tensor)));
  const { shape } = tensor;
  if (arrangement.kind !== 'transposed') return { dtype: 'float32', shape, data };
  const [rows, columns] = shape as [number, number]; // only matrices are transposed
  const turned = new Float32Array(data.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) turned[r * columns + c] = data[c * rows + r] as number; // in range
  return { dtype: 'float32', shape, data: turned };
}

/**
 * The same parameters as an engine can take them: those in blocks or in llama.cpp's arrangement are float32 in memory, the others stay
 * where they are.
 * @throws QuerentError as {@link loadGgufFloats}.
 */
export async function withoutGguf(parameters: ReadonlyMap<string, ParameterData>): Promise<Map<string, ParameterData>> {
  const plain = new Map<string, ParameterData>();
  for (const [name, data] of parameters) plain.set(name, isGgufTensor(data) ? await loadGgufFloats(data) : data);
  return plain;
}

/** Is the tensor stored in blocks that {@link loadGgufBlocks} can hand on as they are? */
export function hasGgufBlocks(tensor: GgufFileTensor): boolean {
  return tensor.gguf.type.blockSize > 1 && tensor.shape.length === 2;
}

/**
 * The integers and scales of a matrix, rows in [out, in] order whatever the checkpoint's.
 * @throws QuerentError as {@link loadGgufFloats}.
 */
export async function loadGgufBlocks(tensor: GgufFileTensor): Promise<NBits> {
  if (!hasGgufBlocks(tensor)) throw new QuerentError('QRT_USAGE', `${tensor.gguf.type.name} [${tensor.shape.join(', ')}] is no matrix of blocks.`);
  return asNBits(tensor.gguf.type, arrangeRows(tensor, await readTensorBytes(tensor)));
}

/**
 * Rows (h, pair, half) → (h, half, pair): undoes llama.cpp's `permute`. Rows are whole blocks, so bytes move and nothing is decoded.
 */
function arrangeRows({ gguf: { type, arrangement }, shape, file }: GgufFileTensor, bytes: Uint8Array): Uint8Array {
  if (arrangement.kind !== 'heads') return bytes;
  const rows = shape[0] ?? 0;
  const rowBytes = bytesOf(type, shape.length === 1 ? 1 : (shape[1] ?? 0));
  const pairs = rows / arrangement.heads / 2;
  if (!Number.isInteger(pairs)) throw damagedGguf(file, `${rows} rows of queries or keys do not divide into ${arrangement.heads} heads`);
  const arranged = new Uint8Array(bytes.length);
  for (let head = 0, out = 0; head < arrangement.heads; head++) {
    for (let half = 0; half < 2; half++) {
      for (let pair = 0; pair < pairs; pair++, out++) {
        const row = (head * pairs + pair) * 2 + half;
        arranged.set(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), out * rowBytes);
      }
    }
  }
  return arranged;
}

function bytesOf({ blockSize, blockBytes }: GgmlType, values: number): number {
  return (values / blockSize) * blockBytes;
}

async function readTensorBytes({ file, offset, byteLength }: GgufFileTensor): Promise<Uint8Array> {
  try {
    const handle = await open(file, 'r');
    try {
      const { size } = await handle.stat();
      if (offset + byteLength > size) throw damagedGguf(file, `bytes ${offset} to ${offset + byteLength} were expected, it has ${size}: it is truncated`);
      const bytes = new Uint8Array(byteLength);
      let done = 0;
      while (done < byteLength) {
        const { bytesRead } = await handle.read(bytes, done, Math.min(2 ** 30, byteLength - done), offset + done);
        if (bytesRead === 0) throw damagedGguf(file, 'it ended while it was read');
        done += bytesRead;
      }
      return bytes;
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw isQuerentError(cause) ? cause : fileError('read', file, cause);
  }
}
