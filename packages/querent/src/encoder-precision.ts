/**
 * How a frozen image encoder is held under `int8` and `int4`: its products in integers of 8 bits, inputs too, where a calibration allows it
 * (`encoder-calibration.ts`), else in 8-bit blocks or as the file has them. The choice is kept beside the checkpoint, under everything that
 * it depends on, the processor among it: not all multiply 8-bit integers alike. Convolutions and norms stay float32.
 */
import { createHash } from 'node:crypto';
import { cpus } from 'node:os';
import type { Engine, Graph, ImageSource, ParameterData, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import type { DerivedTensors } from '@querent/hub';
import { derivedDocument, derivedDocuments, derivedTensors, isGgufTensor, quantiseColumns, removeDerived, toFloat32 } from '@querent/hub';
import { decodeImage } from '@querent/images';
import { createGraph } from '@querent/graph';
import { builtInImages } from './calibration-images.ts';
import type { Product, ProductForm } from './encoder-calibration.ts';
import { calibrateEncoder } from './encoder-calibration.ts';
import type { LargestInteger } from './integer-range.ts';
import { largestInteger } from './integer-range.ts';
import { progressOf } from './load-progress.ts';
import type { OnLoadProgress } from './load-progress.ts';
import type { ModelParts } from './model-parts.ts';
import { PIECES, isProduct, rewriteGraph } from './precision-graph.ts';
import type { WeightForm } from './precision-graph.ts';
import { blockForm, blockWork, keyOf } from './precision.ts';

/** What an encoder's precision is chosen by. */
export interface CalibrationOptions {
  /** Pictures like those that the model is for. Default: six photographs and two drawn pictures that come with this package. */
  readonly images?: readonly ImageSource[];
  /** The least cosine between a bridge's queries, in float32 and as chosen, on any of the pictures. Default 0.999. */
  readonly cosine?: number;
}

/** What a calibration chose, and what it saw. */
export interface EncoderPrecision {
  /** Names of weights whose products run on 8-bit integers. */
  readonly integers: readonly string[];
  /** Those in 8-bit blocks. */
  readonly blocks: readonly string[];
  /** Those that stay as the file has them. */
  readonly stored: readonly string[];
  /** Of queries to those of float32: the least over the pictures. */
  readonly cosine: number;
  /** The same, were all products on integers. */
  readonly cosineOfIntegers: number;
  /** What was asked for. */
  readonly bar: number;
  readonly images: number;
  readonly imagesFrom: 'built in' | 'given';
  /** That it was measured on. */
  readonly processor: string;
}

export interface HeldEncoder {
  readonly graph: Graph;
  readonly pieces: ReadonlyMap<string, ParameterData>;
  readonly chosen: EncoderPrecision;
}

/** The engine whose integers these are. */
const ENGINE = 'onnxruntime:cpu';
const DEFAULT_BAR = 0.999;
/** Raised when the search or what it compares changes. */
const METHOD = 1;

export interface EncoderContext extends CalibrationOptions {
  readonly engine: Engine;
  readonly parts: ModelParts;
  /** pixel_values → features */
  readonly graph: Graph;
  readonly available: ReadonlyMap<string, ParameterData>;
  /** The folder that the cache lies beside. */
  readonly beside: string;
  /** What is still being checked, see `derivedTensors` of the hub. */
  readonly checks?: Promise<boolean>[];
  readonly onProgress?: OnLoadProgress;
  readonly signal?: AbortSignal;
}

/**
 * The encoder's graph in the forms that were chosen for it before, or are chosen now.
 *
 * @returns undefined on an engine without such integers, and for an encoder without products
 * @throws QuerentError QRT_USAGE for a bar outside (0, 1] or no pictures, QRT_IMAGE… for pictures that cannot be read, QRT_FILE when no cache can be written.
 */
export async function heldEncoder(context: EncoderContext): Promise<HeldEncoder | undefined> {
  const { engine, parts, graph, available, beside, images, cosine: bar = DEFAULT_BAR, signal, onProgress } = context;
  if (!(bar > 0 && bar <= 1)) throw new QuerentError('QRT_USAGE', `The cosine to be reached is ${bar}; expected a number above 0 and at most 1.`);
  if (images?.length === 0) throw new QuerentError('QRT_USAGE', 'A calibration was given no pictures.', { fix: 'Leave them out to take those that come with the package.' });
  const products = productsOf(graph, available);
  if (engine.name !== ENGINE || products.length === 0) return undefined;
  const cache = { beside, ...(signal === undefined ? {} : { signal }) };
  const making = { ...cache, ...progressOf('quantising', onProgress) };
  const key = await keyOf(products.map(({ name }) => name), available);
  let later = context.checks === undefined ? {} : { checks: context.checks };
  const largest = await largestInteger(engine);
  const blocksOf = (some: typeof products): ReturnType<typeof derivedTensors> =>
    derivedTensors(some.map(({ name, blocks, isTransposed }) => blockWork(name, dataOf(name, available), blocks, isTransposed)), { ...making, ...later, kind: 'encoder-blocks', key });
  let tried: Awaited<ReturnType<typeof derivedTensors>> | undefined;
  const makers = {
    integers: once(() => derivedTensors(products.map((product) => integerWork(product, available, largest)), { ...making, ...later, kind: `encoder-integers-to-${largest}`, key })),
    blocks: once(async () => (tried = await blocksOf(products))),
  };
  const bridge = queriesGraph(parts);
  const pixels = once(async () => {
    const pictures: TensorData<'float32'>[] = [];
    for (const image of images ?? (await builtInImages())) pictures.push(await prepared(parts, image, signal));
    return pictures;
  });
  const imagesKey = images === undefined ? 'built in' : (await pixels()).map(({ data }) => createHash('sha256').update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)).digest('hex'));
  const document = await derivedDocument({ ...cache, kind: await kindOf(graph, bridge, available), key: [METHOD, processor(), largest, bar, imagesKey] }, async () => {
    later = {}; // what a choice is made by is checked before
    const { forms, cosine, cosineOfIntegers } = await calibrateEncoder({ engine, encoder: graph, bridge, products, available, pieces: makers, pixels: await pixels(), bar, ...progressOf('calibrating', onProgress), ...(signal === undefined ? {} : { signal }) });
    const held = (form: ProductForm): string[] => products.map(({ name }) => name).filter((name) => forms.get(name) === form);
    const chosen: EncoderPrecision = {
      integers: held('integers'), blocks: held('blocks'), stored: held('stored'), cosine: finite(cosine), cosineOfIntegers: finite(cosineOfIntegers), bar,
      images: (await pixels()).length, imagesFrom: images === undefined ? 'built in' : 'given', processor: processor(),
    };
    return { ...chosen };
  });
  const chosen = document as unknown as EncoderPrecision; // written by us, whole by its checksum, under this very key
  const forms = new Map<string, WeightForm>();
  const pieces = new Map<string, ParameterData>();
  for (const product of products) {
    const kind = chosen.integers.includes(product.name) ? 'integers' : chosen.blocks.includes(product.name) ? 'blocks' : 'stored';
    const form = product[kind];
    if (form === undefined) continue; // float32, as it is
    forms.set(product.name, form);
    if (kind === 'stored') pieces.set(product.name + PIECES.half, dataOf(product.name, available));
  }
  // Few take blocks: those have a file of their own, for whose checksum a load does not wait long.
  const inBlocks = products.filter(({ name }) => chosen.blocks.includes(name));
  for (const made of [chosen.integers.length > 0 ? await makers.integers() : [], inBlocks.length > 0 ? await blocksOf(inBlocks) : []]) {
    for (const [name, tensor] of made) pieces.set(name, tensor);
  }
  if (tried !== undefined && inBlocks.length < products.length) await removeDerived(tried); // a calibration asked for all, once
  return { graph: rewriteGraph(graph, { products: forms, tables: new Map() }), pieces, chosen };
}

/** Asks ahead for what {@link heldEncoder} will ask for: the engine's thread answers while the caller's builds graphs. */
export function askIntegerRange(engine: Engine, graph: Graph, available: ReadonlyMap<string, ParameterData>): void {
  if (engine.name === ENGINE && productsOf(graph, available).length > 0) largestInteger(engine).catch(() => undefined); // who needs it is told
}

/** What earlier loads chose for an encoder as it lies there now, on this processor. */
export async function chosenPrecisions(parts: ModelParts, graph: Graph, available: ReadonlyMap<string, ParameterData>, beside: string): Promise<readonly EncoderPrecision[]> {
  const documents = await derivedDocuments({ beside, kind: await kindOf(graph, queriesGraph(parts), available) });
  return documents.map((document) => document as unknown as EncoderPrecision).filter((chosen) => chosen.processor === processor()); // as above
}

interface EncoderProduct extends Product {
  readonly isTransposed: boolean;
}

/** The graph's products with weights of the checkpoint that nothing else uses. */
function productsOf(graph: Graph, available: ReadonlyMap<string, ParameterData>): readonly EncoderProduct[] {
  const products = new Map<string, EncoderProduct>();
  const others = new Set<string>();
  for (const node of graph.nodes) {
    node.inputs.forEach((input, at) => {
      const parameter = input === null ? undefined : graph.parameters.get(input.name);
      const data = parameter === undefined ? undefined : available.get(parameter.name);
      if (parameter === undefined || data === undefined) return;
      const [a, b] = data.shape;
      if (at !== 1 || !isProduct(node) || a === undefined || b === undefined || data.shape.length !== 2 || isGgufTensor(data)) return void others.add(parameter.name);
      const transB = node.attributes['transB'];
      const isTransposed = !(transB?.type === 'int' && transB.value === 1);
      const [rows, columns] = isTransposed ? [b, a] : [a, b];
      const { name } = parameter;
      products.set(name, {
        name,
        isTransposed,
        integers: { kind: 'integers', rows, columns },
        blocks: blockForm(8, rows, columns),
        ...(data.dtype === 'float16' || data.dtype === 'bfloat16' ? { stored: { kind: 'half', dtype: data.dtype, shape: data.shape } } : {}),
      });
    });
  }
  return [...products.values()].filter(({ name }) => !others.has(name));
}

function integerWork({ name, integers: { rows, columns }, isTransposed }: EncoderProduct, available: ReadonlyMap<string, ParameterData>, largest: LargestInteger): DerivedTensors {
  return {
    tensors: [
      { name: name + PIECES.columnScales, dtype: 'float32', shape: [rows] },
      { name: name + PIECES.integers, dtype: 'int8', shape: [columns, rows] },
    ],
    make: async () => {
      const { data, scales } = quantiseColumns((await toFloat32(dataOf(name, available))).data, rows, columns, { isTransposed, largest });
      return [{ dtype: 'float32', shape: [rows], data: scales }, { dtype: 'int8', shape: [columns, rows], data }];
    },
  };
}

/** features → queries, before they are projected: what the cosine is taken of. */
function queriesGraph({ bridge, encoder }: ModelParts): Graph {
  const g = createGraph('queries');
  const features = g.input('features', 'float32', ['batch', 'patches', encoder.plugin.width(encoder.config)]);
  g.output('queries', bridge.plugin.build(g, bridge.config).encode(features).queries);
  return g.graph;
}

/** Of documents about these weights of encoder and bridge. */
async function kindOf(encoder: Graph, bridge: Graph, available: ReadonlyMap<string, ParameterData>): Promise<string> {
  const key = await keyOf([...encoder.parameters.keys(), ...bridge.parameters.keys()], available);
  return `encoder-${createHash('sha256').update(JSON.stringify(key)).digest('hex').slice(0, 12)}`;
}

async function prepared({ processor: { height, width, processAsync } }: ModelParts, image: ImageSource, signal: AbortSignal | undefined): Promise<TensorData<'float32'>> {
  const given = signal === undefined ? {} : { signal };
  return { dtype: 'float32', shape: [3, height, width], data: await processAsync(await decodeImage(image, given), given) };
}

function processor(): string {
  return `${process.arch} ${cpus()[0]?.model ?? 'unknown'}`;
}

function dataOf(name: string, available: ReadonlyMap<string, ParameterData>): ParameterData {
  return available.get(name)!; // products are made of what is there
}

/** JSON has no NaN. */
function finite(value: number): number {
  return Number.isFinite(value) ? value : 0;
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}
