/** Frozen parameters, read once and put on the device. Those in files are read one at a time, so that none is held twice for long. */
import { open } from 'node:fs/promises';
import type { FileTensor, ParameterData, ParameterSet, PortInfo, TensorData } from '@querent/core';
import { BYTES_PER_ELEMENT, QuerentError, elementCount, isFileTensor, viewAs } from '@querent/core';
import { printShape } from '@querent/graph';
import type { Tf } from './tf.ts';
import type { PackedMatrix, UnpackedGraph } from './unpack.ts';
import { unpackMatrix } from './unpack.ts';
import { Value } from './values.ts';

/**
 * Puts the named parameters on the device; the caller disposes the values.
 *
 * @param unpacked The graph that runs, in which matrices stand for weights in blocks: they are unpacked here.
 * @throws QuerentError QRT_CHECKPOINT_MISMATCH when parameters are missing or misshaped, QRT_FILE when one cannot be read.
 */
export async function uploadParameters(tf: Tf, { graph, packed }: UnpackedGraph, names: readonly string[], parameters: ParameterSet, use: () => void): Promise<Map<string, Value>> {
  const problems = names.flatMap((name) => {
    const matrix = packed.get(name);
    const wanted = graph.parameters.get(name);
    const pieces = matrix === undefined ? [wanted] : [matrix.data, matrix.scales, matrix.zeroPoints];
    return pieces.flatMap((piece) => (piece === undefined ? [] : (problemOf(piece, parameters.get(piece.name)) ?? [])));
  });
  if (problems.length > 0) {
    throw new QuerentError('QRT_CHECKPOINT_MISMATCH', `Graph ${graph.name}: ${problems.slice(0, 8).join('; ')}${problems.length > 8 ? `; and ${problems.length - 8} more` : ''}.`, { details: problems });
  }
  const read = async (name: string): Promise<TensorData> => {
    const given = parameters.get(name)!; // checked above
    return isFileTensor(given) ? readTensor(name, given) : given;
  };
  const values = new Map<string, Value>();
  try {
    for (const name of names) {
      const matrix = packed.get(name);
      const data = matrix === undefined ? await read(name) : await readMatrix(matrix, read);
      use();
      const value = new Value(tf, data.dtype, data.shape, { data });
      values.set(name, new Value(tf, data.dtype, data.shape, { tensor: value.tensor })); // without the bytes in JavaScript
    }
  } catch (error) {
    for (const value of values.values()) value.dispose();
    throw error;
  }
  return values;
}

/** What is wrong with what is given for a parameter. */
function problemOf(wanted: PortInfo, given: ParameterData | undefined): string | undefined {
  if (given === undefined) return `${wanted.name} is missing`;
  const isFloat = (dtype: string): boolean => dtype.includes('float');
  // Half precision is widened on the way, so a float may be of another width than the graph says.
  const isDType = given.dtype === wanted.dtype || (isFloat(given.dtype) && isFloat(wanted.dtype));
  if (isDType && printShape(given.shape) === printShape(wanted.shape)) return undefined;
  return `${wanted.name} is ${given.dtype} ${printShape(given.shape)}; expected ${wanted.dtype} ${printShape(wanted.shape)}`;
}

async function readMatrix(matrix: PackedMatrix, read: (name: string) => Promise<TensorData>): Promise<TensorData> {
  const { data, scales, zeroPoints } = matrix;
  return unpackMatrix(matrix, await read(data.name), await read(scales.name), zeroPoints === undefined ? undefined : await read(zeroPoints.name));
}

async function readTensor(name: string, { dtype, shape, file, offset, byteLength }: FileTensor): Promise<TensorData> {
  const expected = elementCount(shape) * BYTES_PER_ELEMENT[dtype];
  if (byteLength !== expected) {
    throw new QuerentError('QRT_CHECKPOINT_FORMAT', `${name} in ${file} has ${byteLength} bytes; ${dtype} ${printShape(shape)} takes ${expected}.`);
  }
  const handle = await open(file).catch((cause: unknown) => {
    throw new QuerentError('QRT_FILE', `The weight file ${file} cannot be opened.`, { fix: 'Was it moved or deleted after it was listed?', cause });
  });
  try {
    if ((await handle.stat()).size < offset + byteLength) {
      throw new QuerentError('QRT_FILE', `${name} ends beyond ${file}.`, { fix: 'The file is truncated: download or copy it again.' });
    }
    const bytes = new Uint8Array(byteLength);
    for (let done = 0; done < byteLength; ) {
      const { bytesRead } = await handle.read(bytes, done, byteLength - done, offset + done);
      if (bytesRead === 0) throw new QuerentError('QRT_FILE', `${file} ended while it was read.`);
      done += bytesRead;
    }
    return { dtype, shape, data: viewAs(dtype, bytes) };
  } finally {
    await handle.close();
  }
}
