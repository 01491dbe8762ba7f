/** Frozen parameters, read once and put on the device. Those in files are read one at a time, so that none is held twice for long. */
import { open } from 'node:fs/promises';
import type { FileTensor, Graph, ParameterSet, TensorData } from '@querent/core';
import { BYTES_PER_ELEMENT, QuerentError, elementCount, isFileTensor, viewAs } from '@querent/core';
import { printShape } from '@querent/graph';
import type { Tf } from './tf.ts';
import { Value } from './values.ts';

/**
 * Puts the named parameters on the device; the caller disposes the values.
 *
 * @throws QuerentError QRT_CHECKPOINT_MISMATCH when parameters are missing or misshaped, QRT_FILE when one cannot be read.
 */
export async function uploadParameters(tf: Tf, graph: Graph, names: readonly string[], parameters: ParameterSet, use: () => void): Promise<Map<string, Value>> {
  const problems = names.flatMap((name) => {
    const [wanted, given] = [graph.parameters.get(name), parameters.get(name)];
    if (wanted === undefined) return [];
    if (given === undefined) return [`${name} is missing`];
    const isSame = given.dtype === wanted.dtype && printShape(given.shape) === printShape(wanted.shape);
    const isFloat = (dtype: string): boolean => dtype.includes('float');
    // Half precision is widened on the way, so a float may be of another width than the graph says.
    if (isSame || (isFloat(given.dtype) && isFloat(wanted.dtype) && printShape(given.shape) === printShape(wanted.shape))) return [];
    return [`${name} is ${given.dtype} ${printShape(given.shape)}; expected ${wanted.dtype} ${printShape(wanted.shape)}`];
  });
  if (problems.length > 0) {
    throw new QuerentError('QRT_CHECKPOINT_MISMATCH', `Graph ${graph.name}: ${problems.slice(0, 8).join('; ')}${problems.length > 8 ? `; and ${problems.length - 8} more` : ''}.`, { details: problems });
  }
  const values = new Map<string, Value>();
  try {
    for (const name of names) {
      const given = parameters.get(name)!; // checked above
      const data = isFileTensor(given) ? await readTensor(name, given) : given;
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
