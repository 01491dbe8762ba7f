/**
 * How a frozen model's weights are held: what each precision means, made on the first load and cached (`quantise-cache.ts` of the hub).
 *
 *     fp32   as floats of 32 bits, mapped where the file has them
 *     fp16   products' weights as 16-bit floats, widened when they are used: half the memory, slower
 *     int8   products' weights as 8-bit blocks of 32 (128 in wide matrices) with a scale each
 *     int4   the language model's as 4-bit blocks of 32 (64 in very wide ones) with a zero point, its head and the encoder as 8-bit ones
 *
 * What trains (the bridge) keeps its values: in `int4`, 16 bits in the file are widened when they are used.
 * Without a precision weights are as the file has them: blocks of a GGUF file stay blocks. The graphs that read them are in
 * `precision-graph.ts`, errors and sizes in `precision-report.ts`.
 */
import { stat } from 'node:fs/promises';
import type { FileTensor, Graph, ParameterData, TensorData } from '@querent/core';
import { isFileTensor, viewAs } from '@querent/core';
import type { DerivedTensors, GgufFileTensor, NBits, QuantisedMatrix } from '@querent/hub';
import { derivedTensors, float32ToFloat16, hasGgufBlocks, isGgufTensor, loadGgufBlocks, quantiseMatrix, toFloat32 } from '@querent/hub';
import { progressOf } from './load-progress.ts';
import type { OnLoadProgress } from './load-progress.ts';
import type { BlockForm, HalfForm, WeightForm } from './precision-graph.ts';
import { PIECES, isProduct, rewriteGraph } from './precision-graph.ts';
import type { WeightGroup } from './precision-groups.ts';
import { groupsOf } from './precision-groups.ts';

/** How weights are held. */
export type Precision = 'fp32' | 'fp16' | 'int8' | 'int4';
export const PRECISIONS: readonly Precision[] = ['fp32', 'fp16', 'int8', 'int4'];

/** Are weights made smaller? */
export function isQuantised(precision: Precision | undefined): boolean {
  return precision === 'int8' || precision === 'int4';
}

/** Which part of a model a weight belongs to, as far as precision goes: a bridge is `trained`. */
export type WeightPart = 'language' | 'vision' | 'trained';

export interface PrecisionOptions {
  /** Absent: as the file has them. */
  readonly precision?: Precision;
  readonly partOf: (name: string) => WeightPart;
  /** Rows of the language model's head, which is held in 8 bits. */
  readonly vocabulary?: number;
  /** The folder or file that the cache lies beside. */
  readonly beside: string;
  /** What is still being checked, see `derivedTensors` of the hub. */
  readonly checks?: Promise<boolean>[];
  readonly onProgress?: OnLoadProgress;
  readonly signal?: AbortSignal;
}

export interface HeldWeights {
  /** The checkpoint's tensors, and the pieces that rewritten graphs ask for. */
  readonly available: ReadonlyMap<string, ParameterData>;
  /** A graph over the weights as they are held. */
  readonly rewrite: (graph: Graph) => Graph;
}

const BLOCK = 32;

/**
 * How many weights share a scale. onnxruntime holds 12 bytes for each block (a scale as it is in the file, the scale beside the blocks it has
 * rearranged, and a sum), so blocks of 32 cost a wide model more than half a gigabyte. Eight bits lose nothing to longer blocks; with four,
 * only rows of large models, which bear it, have longer ones.
 */
export function blockSizeFor(bits: 4 | 8, columns: number): number {
  if (bits === 8 && columns >= 1024 && columns % 128 === 0) return 128;
  if (bits === 4 && columns >= 2048 && columns % 64 === 0) return 64;
  return BLOCK;
}

/**
 * Decides for every weight that `graphs` use, and makes or finds what is needed.
 *
 * @throws QuerentError QRT_FILE when no cache can be written, QRT_CHECKPOINT_FORMAT for damaged weights.
 */
export async function holdWeights(graphs: readonly Graph[], available: ReadonlyMap<string, ParameterData>, options: PrecisionOptions): Promise<HeldWeights> {
  const { precision, signal } = options;
  const usage = usesOf(graphs);
  const [products, tables, pieces] = [new Map<string, BlockForm | HalfForm>(), new Map<string, BlockForm | HalfForm>(), new Map<string, ParameterData>()];
  const works: DerivedTensors[] = [];
  const shared: [name: string, form: BlockForm][] = [];
  for (const [name, { product }] of usage) {
    const data = available.get(name);
    const form = product === undefined || data === undefined ? undefined : formOf(name, data, product.isTransposed, options);
    if (form !== undefined) products.set(name, form);
  }
  const groups = groupsOf(graphs, new Map([...products].filter(([name]) => options.partOf(name) === 'language')));
  for (const [name, use] of usage) {
    const data = available.get(name);
    if (data === undefined) continue;
    const form = products.get(name);
    const group = groups.get(name);
    if (group !== undefined) {
      if (group.members[0] === name) works.push(groupWork(group, group.members.map((member) => available.get(member)!), products, usage)); // it has a form, so it is there
    } else if (form !== undefined) {
      if (form.kind === 'half' && data.dtype === form.dtype && isPlain(data)) pieces.set(name + PIECES.half, data);
      else works.push(form.kind === 'half' ? halfWork(name, data) : blockWork(name, data, form, use.product?.isTransposed === true));
    }
    if (use.isTable) {
      if (form?.kind === 'blocks' && isGgufTensor(data) && form.bits === 8 && !form.hasOffsets) {
        tables.set(name, form);
        shared.push([name, form]);
        continue;
      }
      const half = tableForm(name, data, options);
      if (half !== undefined) {
        tables.set(name, half);
        if (data.dtype === half.dtype && isPlain(data)) pieces.set(name + PIECES.half, data);
        else if (form?.kind !== 'half') works.push(halfWork(name, data));
        continue;
      }
    }
    const isCovered = form !== undefined && !use.isTable && !use.isOther;
    if (!isCovered && isGgufTensor(data)) works.push(floatWork(name, data)); // engines read no blocks where floats are asked for
  }
  if (works.length === 0 && pieces.size === 0) return { available, rewrite: (graph) => graph };
  const made = works.length === 0 ? new Map<string, FileTensor>() : await derivedTensors(works, { beside: options.beside, kind: precision ?? 'stored', key: await keyOf(usage.keys(), available), ...(options.checks === undefined ? {} : { checks: options.checks }), ...progressOf('quantising', options.onProgress), ...(signal === undefined ? {} : { signal }) });
  const held = new Map<string, ParameterData>([...available, ...pieces, ...made]);
  for (const [name, { rows, columns }] of shared) {
    // The same bytes seen as a table.
    const [blocks, scales] = [made.get(name + PIECES.blocks), made.get(name + PIECES.scales)];
    if (blocks !== undefined) held.set(name + PIECES.rows, { ...blocks, shape: [rows, columns] });
    if (scales !== undefined) held.set(name + PIECES.rowScales, scales);
  }
  return { available: held, rewrite: (graph) => rewriteGraph(graph, { products, tables, groups }) };
}

interface WeightUse {
  product?: { readonly isTransposed: boolean };
  isTable: boolean;
  isOther: boolean;
}

/** How each parameter of the graphs is used. */
function usesOf(graphs: readonly Graph[]): Map<string, WeightUse> {
  const uses = new Map<string, WeightUse>();
  for (const graph of graphs) {
    for (const node of graph.nodes) {
      node.inputs.forEach((input, at) => {
        const parameter = input === null ? undefined : graph.parameters.get(input.name);
        if (parameter === undefined) return;
        const use = uses.get(parameter.name) ?? { isTable: false, isOther: false };
        uses.set(parameter.name, use);
        const transB = node.attributes['transB'];
        if (isProduct(node) && at === 1) use.product = { isTransposed: !(transB?.type === 'int' && transB.value === 1) };
        else if (node.opType === 'Gather' && at === 0) use.isTable = true;
        else use.isOther = true;
      });
    }
  }
  return uses;
}

/** How the right operand of a product is held; undefined: as float32. */
function formOf(name: string, data: ParameterData, isTransposed: boolean, { precision, partOf, vocabulary }: PrecisionOptions): BlockForm | HalfForm | undefined {
  const part = partOf(name);
  const [a, b] = data.shape;
  if (a === undefined || b === undefined || data.shape.length !== 2) return undefined;
  if (part === 'trained') return trainedForm(data, precision);
  const [rows, columns] = isTransposed ? [b, a] : [a, b];
  const isStored = isGgufTensor(data) && hasGgufBlocks(data);
  if (precision === 'fp16') return { kind: 'half', dtype: data.dtype === 'bfloat16' && !isGgufTensor(data) ? 'bfloat16' : 'float16', shape: [a, b] };
  if (isStored && precision !== 'fp32') return storedForm(data, rows, columns);
  if (precision !== 'int8' && precision !== 'int4') return undefined;
  const bits = precision === 'int4' && part === 'language' && rows !== vocabulary ? 4 : 8;
  return blockForm(bits, rows, columns);
}

/** Blocks as Querent makes them. */
export function blockForm(bits: 4 | 8, rows: number, columns: number): BlockForm {
  return { kind: 'blocks', bits, blockSize: blockSizeFor(bits, columns), rows, columns, hasZeroPoints: bits === 4, hasOffsets: false };
}

/**
 * What trains keeps its exact values: where memory matters most, 16-bit ones in the file are widened when they are used, not once for all. That
 * takes a sixth of the time from picture to queries, so `int8` does not.
 */
function trainedForm(data: ParameterData, precision: Precision | undefined): HalfForm | undefined {
  return precision === 'int4' && !isGgufTensor(data) && (data.dtype === 'float16' || data.dtype === 'bfloat16') ? { kind: 'half', dtype: data.dtype, shape: data.shape } : undefined;
}

/** A GGUF tensor's own blocks. */
function storedForm({ gguf: { type } }: GgufFileTensor, rows: number, columns: number): BlockForm {
  const isFour = type.name.startsWith('Q4');
  return { kind: 'blocks', bits: isFour ? 4 : 8, blockSize: type.name === 'Q6_K' ? 16 : BLOCK, rows, columns, hasZeroPoints: false, hasOffsets: type.name === 'Q4_1' || type.name === 'Q4_K' };
}

/** A table is never quantised by us: rows are picked, so only those that are read cost memory. Halves stay halves. */
function tableForm(name: string, data: ParameterData, { precision, partOf }: PrecisionOptions): HalfForm | undefined {
  if (partOf(name) === 'trained' || data.shape.length !== 2 || precision === 'fp32') return undefined;
  if (!isGgufTensor(data) && (data.dtype === 'float16' || data.dtype === 'bfloat16')) return { kind: 'half', dtype: data.dtype, shape: data.shape };
  if (isGgufTensor(data) || precision === 'fp16') return { kind: 'half', dtype: 'float16', shape: data.shape };
  return undefined;
}

/** Not narrowing, unlike the hub's `isGgufTensor`: the other branch still has a dtype. */
function isPlain(data: ParameterData): boolean {
  return !isGgufTensor(data);
}

function halfWork(name: string, data: ParameterData): DerivedTensors {
  return {
    tensors: [{ name: name + PIECES.half, dtype: 'float16', shape: data.shape }],
    make: async () => [{ dtype: 'float16', shape: data.shape, data: float32ToFloat16((await toFloat32(data)).data) }],
  };
}

function floatWork(name: string, data: ParameterData): DerivedTensors {
  return { tensors: [{ name, dtype: 'float32', shape: data.shape }], make: async () => [await toFloat32(data)] };
}

/** A matrix's blocks, to be made. */
export function blockWork(name: string, data: ParameterData, form: BlockForm, isTransposed: boolean): DerivedTensors {
  const { rows, columns, bits, blockSize } = form;
  const blocks = Math.ceil(columns / blockSize);
  return {
    tensors: [
      { name: name + PIECES.scales, dtype: 'float32', shape: [rows, blocks] },
      ...(form.hasOffsets ? [{ name: name + PIECES.offsets, dtype: 'float32', shape: [rows, blocks] } as const] : []),
      { name: name + PIECES.blocks, dtype: 'uint8', shape: [rows, blocks, (blockSize * bits) / 8] },
      ...(form.hasZeroPoints ? [{ name: name + PIECES.zeroPoints, dtype: 'uint8', shape: [rows, Math.ceil(blocks / 2)] } as const] : []),
    ],
    make: async () => {
      const matrix = await blocksOf(data, form, isTransposed);
      const made: TensorData[] = [{ dtype: 'float32', shape: [rows, blocks], data: matrix.scales }];
      if (form.hasOffsets) made.push({ dtype: 'float32', shape: [rows, blocks], data: matrix.offsets ?? new Float32Array(rows * blocks) });
      made.push({ dtype: 'uint8', shape: [rows, blocks, (blockSize * bits) / 8], data: matrix.data });
      if (form.hasZeroPoints) made.push({ dtype: 'uint8', shape: [rows, Math.ceil(blocks / 2)], data: matrix.zeroPoints ?? new Uint8Array(0) });
      return made;
    },
  };
}

/** The blocks of several matrices below each other. */
function groupWork({ name, members, form }: WeightGroup, weights: readonly ParameterData[], forms: ReadonlyMap<string, WeightForm>, usage: ReadonlyMap<string, WeightUse>): DerivedTensors {
  const works = members.map((member, i) => blockWork(member, weights[i]!, forms.get(member) as BlockForm, usage.get(member)?.product?.isTransposed === true)); // a group has blocks
  const { tensors } = blockWork(name, weights[0]!, form, false); // what there will be
  return {
    tensors,
    make: async () => {
      const made: (readonly TensorData[])[] = [];
      for (const work of works) made.push(await work.make());
      return tensors.map(({ dtype, shape }, piece) => ({ dtype, shape, data: viewAs(dtype, joined(made.map((pieces) => pieces[piece]!))) }));
    },
  };
}

function joined(tensors: readonly TensorData[]): Uint8Array {
  const bytes = new Uint8Array(tensors.reduce((sum, { data }) => sum + data.byteLength, 0));
  let at = 0;
  for (const { data } of tensors) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}

async function blocksOf(data: ParameterData, form: BlockForm, isTransposed: boolean): Promise<NBits & Pick<Partial<QuantisedMatrix>, 'zeroPoints'>> {
  const { rows, columns, bits, blockSize } = form;
  if (isGgufTensor(data) && hasGgufBlocks(data)) return loadGgufBlocks(data);
  const { data: values } = await toFloat32(data);
  return quantiseMatrix(isTransposed ? transposed(values, columns, rows) : values, rows, columns, { bits, blockSize });
}

function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const turned = new Float32Array(values.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) turned[c * rows + r] = values[r * columns + c] as number; // in range
  return turned;
}

/** Where the bytes lie, with each file's size and time: another file gives another name to the cache. */
export async function keyOf(names: Iterable<string>, available: ReadonlyMap<string, ParameterData>): Promise<unknown> {
  const files = new Map<string, unknown>();
  const tensors: unknown[] = [];
  for (const name of [...names].sort()) {
    const data = available.get(name);
    if (data === undefined || !isFileTensor(data)) continue;
    if (!files.has(data.file)) {
      const { size, mtimeMs } = await stat(data.file);
      files.set(data.file, [files.size, size, mtimeMs]);
    }
    tensors.push([name, data.dtype, data.shape, data.offset, files.get(data.file)]);
  }
  return tensors;
}
