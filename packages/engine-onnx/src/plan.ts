/**
 * What onnxruntime needs to make a session: ONNX bytes and where the frozen weights are. Made on the caller's side, and
 * structured-cloneable, because a Graph is not.
 *
 * Weights in files are never read here: the model refers to file, offset and length, and onnxruntime maps them. The model
 * itself is given as bytes, with the session option that names the folder its references are relative to, so nothing is written to
 * disk and read-only folders work. That folder is the common ancestor of the *real* files: a link out of it would be refused.
 */
import { open, realpath } from 'node:fs/promises';
import { dirname, join, parse, relative, resolve, sep } from 'node:path';
import type { CompileOptions, FileTensor, Graph, ParameterData, ParameterSet, PortInfo, TensorData } from '@querent/core';
import { BYTES_PER_ELEMENT, QuerentError, elementCount, isFileTensor, viewAs } from '@querent/core';
import { printShape, writeOnnx } from '@querent/graph';
import { fuseGraph } from './fuse.ts';
import type { ProcessorNodes } from './webgpu.ts';
import { processorNodes } from './webgpu.ts';

/**
 * Where all weights are in memory, those of at least this size are handed to onnxruntime beside the model instead of inside it
 * (a model ends at 2 GiB). With any in files it cannot be: onnxruntime then looks for all references in memory.
 */
const BESIDE_BYTES = 1 << 16;

/** Operators that are very slow on weights that are not prepacked (MatMulNBits: measured 36x). */
const NEEDS_PREPACKING: ReadonlySet<string> = new Set(['MatMulNBits', 'DynamicQuantizeMatMul', 'MatMulInteger', 'GatherBlockQuantized']);

/** Weights in memory, under the name that the model refers to. onnxruntime copies them when the session is made. */
export interface WeightBytes {
  readonly path: string;
  readonly data: Uint8Array;
}

/** A graph, ready to become a session anywhere. */
export interface ModelPlan {
  readonly graph: string;
  readonly onnx: Uint8Array;
  /** The folder that weight references are relative to; absent when there are none. */
  readonly weightFolder?: string;
  readonly weights: readonly WeightBytes[];
  /** Bytes of weights that stay in files. */
  readonly mappedBytes: number;
  readonly needsPrepacking: boolean;
  /** Are there weights that the graph itself declares as 16-bit floats? Widening them once would double the memory that they are to save. */
  readonly keepsHalves: boolean;
  /** What WebGPU leaves to the processor. */
  readonly processorNodes: ProcessorNodes;
  readonly purpose: 'inference' | 'training';
  /** Every declared input; parameters asked for as inputs come after the graph's own and may turn out not to be needed. */
  readonly inputs: readonly PortInfo[];
  readonly parameterInputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
}

export interface PlanOptions extends CompileOptions {
  /** Put an inference graph together in onnxruntime's larger operators (`fuse.ts`)? Default false. */
  readonly isFused?: boolean;
}

/**
 * @throws QuerentError QRT_CHECKPOINT_MISMATCH when parameters are missing or misshaped.
 * @throws QuerentError QRT_FILE when a weight file is missing or shorter than its tensors.
 */
export async function planModel(given: Graph, parameters: ParameterSet, options: PlanOptions = {}): Promise<ModelPlan> {
  const purpose = options.purpose ?? 'inference';
  const graph = options.isFused === true && purpose === 'inference' ? fuseGraph(given) : given;
  const asInputs = new Set(options.asInputs);
  const frozen = [...graph.parameters.keys()].filter((name) => !asInputs.has(name));
  const placed = await placeWeights(frozen, parameters);
  options.signal?.throwIfAborted();
  const port = (name: string, { dtype, shape }: Pick<PortInfo, 'dtype' | 'shape'>): PortInfo => ({ name, dtype, shape });
  return {
    graph: graph.name,
    onnx: writeOnnx(graph, {
      parameters: placed.parameters,
      resultsLast: purpose === 'training', // each gradient as soon as it can be
      asInputs,
      ...(placed.folder === undefined ? {} : { externalRoot: placed.folder }),
    }),
    ...(placed.folder === undefined ? {} : { weightFolder: placed.folder }),
    weights: placed.weights,
    mappedBytes: placed.mappedBytes,
    needsPrepacking: graph.nodes.some(({ opType }) => NEEDS_PREPACKING.has(opType)),
    keepsHalves: [...graph.parameters.values()].some(({ dtype }) => dtype === 'float16' || dtype === 'bfloat16'),
    processorNodes: processorNodes(graph),
    purpose,
    inputs: graph.inputs.map((input) => port(input.name, input)),
    parameterInputs: [...graph.parameters.values()].filter(({ name }) => asInputs.has(name)).map((parameter) => port(parameter.name, parameter)),
    outputs: [...graph.outputs].map(([name, tensor]) => port(name, tensor)),
  };
}

interface PlacedWeights {
  readonly parameters: ParameterSet;
  readonly folder: string | undefined;
  readonly weights: readonly WeightBytes[];
  readonly mappedBytes: number;
}

async function placeWeights(names: readonly string[], parameters: ParameterSet): Promise<PlacedWeights> {
  const found = names.flatMap((name): [string, ParameterData][] => {
    const data = parameters.get(name);
    return data === undefined ? [] : [[name, data]];
  });
  const files = new Map<string, string>();
  for (const [, data] of found) {
    if (isFileTensor(data) && !files.has(data.file)) files.set(data.file, await realFile(data.file));
  }
  await checkExtents(found, files);
  const drive = [...files.values()].map((file) => parse(file).root)[0];
  const folder = commonFolder([...files.values()].filter((file) => parse(file).root === drive));

  const placed = new Map<string, ParameterData>();
  const weights: WeightBytes[] = [];
  let mappedBytes = 0;
  const memoryFolder = resolve('.'); // any will do: nothing is looked up there
  const beside = (name: string, data: TensorData): void => {
    const path = `.memory/${weights.length}`;
    const { buffer, byteOffset, byteLength } = data.data;
    const view = new Uint8Array(buffer, byteOffset, byteLength);
    // onnxruntime-node refuses shared memory.
    weights.push({ path, data: buffer instanceof SharedArrayBuffer ? view.slice() : view });
    placed.set(name, { dtype: data.dtype, shape: data.shape, file: join(memoryFolder, path), offset: 0, byteLength });
  };
  for (const [name, data] of found) {
    if (!isFileTensor(data)) {
      if (folder !== undefined || data.data.byteLength < BESIDE_BYTES || data.data.length !== elementCount(data.shape)) placed.set(name, data);
      else beside(name, data);
      continue;
    }
    const file = files.get(data.file) ?? data.file;
    if (parse(file).root !== drive) placed.set(name, await readTensor(data)); // another drive on Windows has no common folder
    else {
      mappedBytes += data.byteLength;
      placed.set(name, { ...data, file });
    }
  }
  return { parameters: placed, folder: folder ?? (weights.length > 0 ? memoryFolder : undefined), weights, mappedBytes };
}

async function realFile(file: string): Promise<string> {
  try {
    return await realpath(file);
  } catch (cause) {
    throw new QuerentError('QRT_FILE', `The weight file ${file} cannot be opened.`, { fix: 'Was it moved or deleted after it was listed?', cause });
  }
}

/** Tensors that end beyond their file would crash the process when the map is read. */
async function checkExtents(found: readonly (readonly [string, ParameterData])[], files: ReadonlyMap<string, string>): Promise<void> {
  const sizes = new Map<string, number>();
  for (const file of files.keys()) {
    const handle = await open(file);
    try {
      sizes.set(file, (await handle.stat()).size);
    } finally {
      await handle.close();
    }
  }
  for (const [name, data] of found) {
    if (!isFileTensor(data)) continue;
    const size = sizes.get(data.file) ?? 0;
    const expected = elementCount(data.shape) * BYTES_PER_ELEMENT[data.dtype];
    if (data.byteLength !== expected || 'gguf' in data) { // a GGUF tensor may have the size of a plain one and another order of rows
      throw new QuerentError(
        'QRT_CHECKPOINT_FORMAT',
        `${name} in ${data.file} has ${data.byteLength} bytes; ${data.dtype} ${printShape(data.shape)} takes ${expected}.`,
      );
    }
    if (!Number.isSafeInteger(data.offset) || data.offset < 0 || data.offset + data.byteLength > size) {
      throw new QuerentError('QRT_FILE', `${name} lies at bytes ${data.offset} to ${data.offset + data.byteLength} of ${data.file}, which has ${size}.`, {
        fix: 'The file is truncated: download or copy it again.',
      });
    }
  }
}

async function readTensor(tensor: FileTensor): Promise<TensorData> {
  const bytes = new Uint8Array(tensor.byteLength);
  const handle = await open(tensor.file);
  try {
    let done = 0;
    while (done < bytes.byteLength) {
      const { bytesRead } = await handle.read(bytes, done, bytes.byteLength - done, tensor.offset + done);
      if (bytesRead === 0) throw new QuerentError('QRT_FILE', `${tensor.file} ended while it was read.`);
      done += bytesRead;
    }
  } finally {
    await handle.close();
  }
  return { dtype: tensor.dtype, shape: tensor.shape, data: viewAs(tensor.dtype, bytes) };
}

/** The deepest folder that holds all files; they are on one drive. */
function commonFolder(files: readonly string[]): string | undefined {
  const [first, ...rest] = files.map((file) => dirname(file));
  if (first === undefined) return undefined;
  let folder = first;
  for (const other of rest) {
    while (!isInside(folder, other)) folder = dirname(folder);
  }
  return folder;
}

function isInside(folder: string, inner: string): boolean {
  const path = relative(folder, inner);
  return path === '' || path.split(sep)[0] !== '..';
}
