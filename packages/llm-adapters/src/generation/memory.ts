/**
 * The keys and values of running rows, in buffers that the decode graph writes in place (RunOptions.into). A prefill's result is spread
 * over the rows of its batch once; beams that change parents copy only what was said since, because they share the prompt.
 */
import type { Executable, PortInfo, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';

/** Slots are allocated in steps: a long `maxNewTokens` costs nothing until it is used. */
const SLOT_STEP = 64;

const PAST = 'past_key_values.';
const PRESENT = 'present.';

/** A cache [rows, heads, slots, headWidth], row-major. */
interface Cache {
  readonly name: string;
  readonly heads: number;
  readonly headWidth: number;
  data: Float32Array;
}

export interface MemoryOptions {
  readonly rows: number;
  /** Rows per row of the batch. */
  readonly width: number;
  /** Slots that the prompt takes. */
  readonly promptSlots: number;
  /** Slots there can ever be. */
  readonly maxSlots: number;
}

export class Memory {
  readonly #rows: number;
  readonly #promptSlots: number;
  readonly #maxSlots: number;
  readonly #self: readonly Cache[];
  readonly #cross: Readonly<Record<string, TensorData>>;
  #slots: number;

  /**
   * @param prefill outputs of the prefill graph: `present.*` [batch, heads, tokens, headWidth]
   * @throws QuerentError QRT_USAGE when the two graphs are not of one model.
   */
  constructor(decode: Executable, prefill: Readonly<Record<string, TensorData>>, options: MemoryOptions) {
    this.#rows = options.rows;
    this.#promptSlots = options.promptSlots;
    this.#maxSlots = options.maxSlots;
    this.#slots = slotsFor(options.promptSlots + 1, options.maxSlots);
    const written = new Set(decode.outputs.map((port) => port.name));
    const self: Cache[] = [];
    const cross: Record<string, TensorData> = {};
    for (const port of decode.inputs) {
      if (!port.name.startsWith(PAST)) continue;
      const name = port.name.slice(PAST.length);
      const present = prefill[PRESENT + name];
      const { heads, headWidth } = geometry(port, present);
      if (written.has(PRESENT + name)) {
        const cache: Cache = { name, heads, headWidth, data: new Float32Array(options.rows * heads * this.#slots * headWidth) };
        if (present !== undefined) this.#fill(cache, present, options.width);
        self.push(cache);
      } else {
        if (present === undefined) throw new QuerentError('QRT_USAGE', `The decode graph reads ${port.name}, which the prefill graph does not give. Are both of one model?`);
        cross[port.name] = spread(present, options.width);
      }
    }
    this.#self = self;
    this.#cross = cross;
  }

  /** Slots allocated: the `cache` dim of the next run. */
  get slots(): number {
    return this.#slots;
  }

  /** Makes room for slot `index`. */
  reach(index: number): void {
    if (index < this.#slots) return;
    const slots = slotsFor(index + 1, this.#maxSlots);
    for (const cache of this.#self) {
      const grown = new Float32Array(this.#rows * cache.heads * slots * cache.headWidth);
      for (let i = 0; i < this.#rows * cache.heads; i++) {
        grown.set(cache.data.subarray(i * this.#slots * cache.headWidth, (i + 1) * this.#slots * cache.headWidth), i * slots * cache.headWidth);
      }
      cache.data = grown;
    }
    this.#slots = slots;
  }

  /** The caches as feeds, and the same memory as preallocated outputs. */
  ports(): { readonly feeds: Record<string, TensorData>; readonly into: Record<string, TensorData> } {
    const feeds: Record<string, TensorData> = { ...this.#cross };
    const into: Record<string, TensorData> = {};
    for (const { name, heads, headWidth, data } of this.#self) {
      const tensor: TensorData = { dtype: 'float32', shape: [this.#rows, heads, this.#slots, headWidth], data };
      feeds[PAST + name] = tensor;
      into[PRESENT + name] = tensor;
    }
    return { feeds, into };
  }

  /** Row `i` goes on with the memory of row `parents[i]`, of the same row of the batch; `end` is the first slot not yet written. */
  reorder(parents: readonly number[], end: number): void {
    const moved = parents.flatMap((parent, row) => (parent === row ? [] : [row]));
    const from = this.#promptSlots;
    if (moved.length === 0 || end <= from) return;
    for (const { heads, headWidth, data } of this.#self) {
      const size = (end - from) * headWidth;
      const at = (row: number, head: number): number => ((row * heads + head) * this.#slots + from) * headWidth;
      const copies = new Float32Array(moved.length * heads * size);
      moved.forEach((row, i) => {
        for (let head = 0; head < heads; head++) {
          const start = at(parents[row]!, head);
          copies.set(data.subarray(start, start + size), (i * heads + head) * size);
        }
      });
      moved.forEach((row, i) => {
        for (let head = 0; head < heads; head++) data.set(copies.subarray((i * heads + head) * size, (i * heads + head + 1) * size), at(row, head));
      });
    }
  }

  #fill(cache: Cache, present: TensorData, width: number): void {
    const { heads, headWidth, data } = cache;
    const tokens = present.shape[2]!;
    const size = tokens * headWidth;
    const source = present.data as Float32Array; // geometry() has looked
    for (let row = 0; row < this.#rows; row++) {
      for (let head = 0; head < heads; head++) {
        const start = (Math.floor(row / width) * heads + head) * size;
        data.set(source.subarray(start, start + size), (row * heads + head) * this.#slots * headWidth);
      }
    }
  }
}

function slotsFor(needed: number, most: number): number {
  return Math.min(most, Math.ceil(needed / SLOT_STEP) * SLOT_STEP);
}

function geometry(port: PortInfo, present: TensorData | undefined): { readonly heads: number; readonly headWidth: number } {
  const [heads, headWidth] = [port.shape[1], port.shape[3]];
  const isFit = present === undefined || (present.dtype === 'float32' && present.shape.length === 4 && present.shape[1] === heads && present.shape[3] === headWidth);
  if (port.dtype !== 'float32' || typeof heads !== 'number' || typeof headWidth !== 'number' || !isFit) {
    throw new QuerentError(
      'QRT_USAGE',
      `Cache ${port.name} is ${port.dtype} [${port.shape.join(', ')}] in the decode graph, the prefill gave ${present === undefined ? 'nothing' : `${present.dtype} [${present.shape.join(', ')}]`}.`,
      { fix: 'Compile both graphs from one model and config.' },
    );
  }
  return { heads, headWidth };
}

/** Each row `width` times. */
export function spread(tensor: TensorData, width: number): TensorData {
  if (width === 1) return tensor;
  const [batch, ...rest] = tensor.shape as [number, ...number[]];
  const size = tensor.data.length / batch;
  const data = new Float32Array(tensor.data.length * width);
  const source = tensor.data as Float32Array; // caches are float32
  for (let row = 0; row < batch * width; row++) {
    const start = Math.floor(row / width) * size;
    data.set(source.subarray(start, start + size), row * size);
  }
  return { dtype: 'float32', shape: [batch * width, ...rest], data };
}
