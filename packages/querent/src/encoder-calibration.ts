/**
 * Which products of an image encoder bear 8-bit weights and activations: pictures go through the encoder and the bridge as the file has
 * them and through candidates, and the bridge's queries are compared. Integers everywhere are tried first; where they do not reach the bar,
 * the products that they hurt most take 8-bit blocks, or, where blocks do not either, keep the file's own values. How weights then are held, and
 * where the outcome is kept, is `encoder-precision.ts`.
 */
import type { Engine, Graph, ParameterData, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import { matchParameters } from '@querent/hub';
import { stack } from '@querent/tasks';
import type { BlockForm, HalfForm, IntegerForm, WeightForm } from './precision-graph.ts';
import { PIECES, rewriteGraph } from './precision-graph.ts';

/** What a product of the encoder can be. */
export interface Product {
  /** The weight's name in the checkpoint. */
  readonly name: string;
  readonly integers: IntegerForm;
  readonly blocks: BlockForm;
  /** As the file has it: floats of 16 bits, widened at each use; absent: floats of 32 bits. */
  readonly stored?: HalfForm;
}

/** How a product is held. */
export type ProductForm = 'integers' | 'blocks' | 'stored';

export interface CalibrationContext {
  readonly engine: Engine;
  /** pixel_values → features */
  readonly encoder: Graph;
  /** features → queries */
  readonly bridge: Graph;
  readonly products: readonly Product[];
  readonly available: ReadonlyMap<string, ParameterData>;
  /** The pieces of all products as integers, and as blocks. */
  readonly pieces: Readonly<Record<'integers' | 'blocks', () => Promise<ReadonlyMap<string, ParameterData>>>>;
  /** Pictures, preprocessed: float32 [3, height, width] each. */
  readonly pixels: readonly TensorData<'float32'>[];
  /** The least cosine of queries that will do. */
  readonly bar: number;
  /** Pictures that have gone through, and the most that may. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

export interface Calibration {
  readonly forms: ReadonlyMap<string, ProductForm>;
  /** Between the queries of the choice and those of the file's values: the least over the pictures. */
  readonly cosine: number;
  /** The same with integers everywhere. */
  readonly cosineOfIntegers: number;
}

/** Pictures that go through the encoder together. */
const BATCH = 2;

/** @throws what compiling and running throw; the signal's reason. */
export async function calibrateEncoder(given: CalibrationContext): Promise<Calibration> {
  const { products, bar, pieces } = given;
  const context = counted(given);
  await using bridge = await compiled(context, context.bridge, new Map());
  const queriesOf = (graph: Graph, more: ReadonlyMap<string, ParameterData>): Promise<readonly Float32Array[]> => queries(context, graph, more, bridge);
  const wanted = await queriesOf(rewriteGraph(context.encoder, { products: formsOf(products, () => 'stored'), tables: new Map() }), new Map());
  const integers = await pieces.integers();
  const measured = new Map<string, number>();
  const cosineWith = async (formOf: (name: string) => ProductForm): Promise<number> => {
    const key = products.map(({ name }) => formOf(name)).join();
    const known = measured.get(key);
    if (known !== undefined) return known;
    const forms = formsOf(products, formOf);
    const blocks = [...forms.values()].some(({ kind }) => kind === 'blocks') ? await pieces.blocks() : new Map<string, ParameterData>();
    const graph = rewriteGraph(context.encoder, { products: forms, tables: new Map() });
    const cosine = leastCosine(wanted, await queriesOf(graph, new Map([...integers, ...blocks])));
    measured.set(key, cosine);
    return cosine;
  };
  const chosen = (formOf: (name: string) => ProductForm, cosine: number): Calibration => ({ forms: new Map(products.map(({ name }) => [name, formOf(name)])), cosine, cosineOfIntegers });

  const cosineOfIntegers = await cosineWith(() => 'integers');
  if (cosineOfIntegers >= bar) return chosen(() => 'integers', cosineOfIntegers);
  const ranked = await worstFirst(context, integers);
  for (const fine of ['blocks', 'stored'] as const) {
    const first = (count: number): ((name: string) => ProductForm) => {
      const given = new Set(ranked.slice(0, count));
      return (name) => (given.has(name) ? fine : 'integers');
    };
    const count = await fewest(ranked.length, async (n) => (await cosineWith(first(n))) >= bar);
    if (count !== undefined) return chosen(first(count), await cosineWith(first(count)));
  }
  return chosen(() => 'stored', await cosineWith(() => 'stored')); // not even itself: queries that are no numbers
}

/** Who listens hears of pictures instead of runs. The file's values, integers, each product alone, then both finer forms, each tried everywhere and by halving. */
function counted(context: CalibrationContext): CalibrationContext & { readonly onPictures: (count: number) => void } {
  const { pixels, products, onProgress } = context;
  const total = pixels.length * (3 + 2 * (1 + Math.ceil(Math.log2(products.length + 1))));
  let done = 0;
  return { ...context, onPictures: (count) => onProgress?.(Math.min((done += count), total), total) };
}

/**
 * The least count from 1 to `most` for which `holds`, by halving: it is taken that what holds for some holds for more. Undefined: not for all of them.
 */
export async function fewest(most: number, holds: (count: number) => Promise<boolean>): Promise<number | undefined> {
  if (!(await holds(most))) return undefined;
  let [low, high] = [0, most];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (await holds(middle)) high = middle;
    else low = middle;
  }
  return high;
}

function formsOf(products: readonly Product[], formOf: (name: string) => ProductForm): ReadonlyMap<string, WeightForm> {
  return new Map(
    products.flatMap((product): [string, WeightForm][] => {
      const form = product[formOf(product.name)];
      return form === undefined ? [] : [[product.name, form]];
    }),
  );
}

async function compiled({ engine, available, signal }: CalibrationContext, graph: Graph, more: ReadonlyMap<string, ParameterData>): ReturnType<Engine['compile']> {
  const halves = [...available].map(([name, data]): [string, ParameterData] => [name + PIECES.half, data]);
  const { parameters } = matchParameters(graph.parameters, new Map([...available, ...halves, ...more]), { file: graph.name });
  return engine.compile(graph, parameters, signal === undefined ? {} : { signal });
}

/** Each picture's queries, [queries * hidden]. */
async function queries(context: ReturnType<typeof counted>, graph: Graph, more: ReadonlyMap<string, ParameterData>, bridge: Awaited<ReturnType<Engine['compile']>>): Promise<readonly Float32Array[]> {
  const { pixels, signal, onPictures } = context;
  await using encoder = await compiled(context, graph, more);
  const rows: Float32Array[] = [];
  for (let from = 0; from < pixels.length; from += BATCH) {
    signal?.throwIfAborted();
    const pictures = pixels.slice(from, from + BATCH);
    const { features } = await encoder.run({ pixel_values: stack(pictures) });
    const { queries: found } = await bridge.run({ features: present(features) });
    const values = Float32Array.from(present(found).data, Number);
    const width = values.length / pictures.length;
    pictures.forEach((_, i) => rows.push(values.subarray(i * width, (i + 1) * width)));
    onPictures(pictures.length);
  }
  return rows;
}

/** The products by how much integers change what they give, relative to its size and averaged over the pictures; the worst first. */
async function worstFirst(context: ReturnType<typeof counted>, integers: ReadonlyMap<string, ParameterData>): Promise<readonly string[]> {
  const { products, pixels, signal } = context;
  const probes = new Map(products.map(({ name, integers: form }) => [name, form]));
  const graph = rewriteGraph(context.encoder, { products: formsOf(products, () => 'stored'), tables: new Map(), probes });
  await using encoder = await compiled(context, graph, integers);
  const outputs = products.map(({ name }) => `error.${name}`);
  const errors = new Map<string, number>();
  for (const picture of pixels) {
    signal?.throwIfAborted();
    const found = await encoder.run({ pixel_values: stack([picture]) }, { outputs });
    for (const { name } of products) errors.set(name, (errors.get(name) ?? 0) + Number(found[`error.${name}`]?.data[0]));
    context.onPictures(1);
  }
  const errorOf = (name: string): number => errors.get(name) ?? NaN;
  return products.map(({ name }) => name).sort((a, b) => (Number.isNaN(errorOf(a)) ? -1 : Number.isNaN(errorOf(b)) ? 1 : errorOf(b) - errorOf(a)));
}

function leastCosine(wanted: readonly Float32Array[], found: readonly Float32Array[]): number {
  return Math.min(...wanted.map((row, i) => cosine(row, found[i] ?? row)));
}

/** Two vectors of zeros are alike, one is like no other; NaN where there is a NaN. */
export function cosine(a: Float32Array, b: Float32Array): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] as number, b[i] as number]; // as long as each other
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  if (aa === 0 || bb === 0) return aa === bb ? 1 : ab; // 0, or NaN
  return ab / Math.sqrt(aa * bb);
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new QuerentError('QRT_ENGINE_RUN', 'The engine gave no features or no queries while an encoder was calibrated.');
  return value;
}
