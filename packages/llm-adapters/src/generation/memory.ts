/**
 * The keys and values of running rows, in buffers that the decode graph writes in place (RunOptions.into). A prefill's result is spread
 * over the rows of its batch once. A beam that takes another's place copies only the slots in which the two differ: they share the
 * prompt and whatever their common ancestor said. Which beams have to move at all is `placement.ts`.
 */
import type { Executable, PortInfo, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import type { Move } from './placement.ts';

/** New slots are allocated in steps: a long `maxNewTokens` costs nothing until it is used. */
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

/** The caches as feeds, and the same memory as preallocated outputs. */
export interface MemoryPorts {
  readonly feeds: Readonly<Record<string, TensorData>>;
  readonly into: Readonly<Record<string, TensorData>>;
}

export class Memory {
  readonly #rows: number;
  readonly #promptSlots: number;
  readonly #maxSlots: number;
  readonly #self: readonly Cache[];
  readonly #cross: Readonly<Record<string, TensorData>>;
  /** [rows, new slots]: the row that wrote what a slot holds; with the slot's number it names one key and value. */
  readonly #writers: Int32Array;
  #slots: number;
  /** The same at every step until caches grow. */
  #ports: MemoryPorts | undefined;

  /**
   * @param prefill outputs of the prefill graph: `present.*` [batch, heads, tokens, headWidth]
   * @throws QuerentError QRT_USAGE when the two graphs are not of one model.
   */
  constructor(decode: Pick<Executable, 'inputs' | 'outputs'>, prefill: Readonly<Record<string, TensorData>>, options: MemoryOptions) {
    this.#rows = options.rows;
    this.#promptSlots = options.promptSlots;
    this.#maxSlots = options.maxSlots;
    this.#slots = Math.min(options.maxSlots, options.promptSlots + SLOT_STEP);
    const newSlots = options.maxSlots - options.promptSlots;
    this.#writers = Int32Array.from({ length: options.rows * newSlots }, (_, i) => Math.floor(i / newSlots));
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
    const slots = Math.min(this.#maxSlots, index + SLOT_STEP);
    for (const cache of this.#self) {
      const grown = new Float32Array(this.#rows * cache.heads * slots * cache.headWidth);
      for (let i = 0; i < this.#rows * cache.heads; i++) {
        grown.set(cache.data.subarray(i * this.#slots * cache.headWidth, (i + 1) * this.#slots * cache.headWidth), i * slots * cache.headWidth);
      }
      cache.data = grown;
    }
    this.#slots = slots;
    this.#ports = undefined;
  }

  ports(): MemoryPorts {
    return (this.#ports ??= this.#newPorts());
  }

  #newPorts(): MemoryPorts {
    const feeds: Record<string, TensorData> = { ...this.#cross };
    const into: Record<string, TensorData> = {};
    for (const { name, heads, headWidth, data } of this.#self) {
      const tensor: TensorData = { dtype: 'float32', shape: [this.#rows, heads, this.#slots, headWidth], data };
      feeds[PAST + name] = tensor;
      into[PRESENT + name] = tensor;
    }
    return { feeds, into };
  }

  /**
   * Rows take over the memory of others. No row of `moves` may be both read and overwritten ({@link Move}).
   *
   * @param end the first slot not yet written
   * @returns slots copied, of one cache and one head: what a step of beam search costs
   */
  move(moves: readonly Move[], end: number): number {
    const newSlots = this.#maxSlots - this.#promptSlots;
    let copied = 0;
    for (const { from, to } of moves) {
      const [theirs, own] = [from * newSlots, to * newSlots];
      let first = end - this.#promptSlots; // the first slot in which the two differ: from there on they all do
      while (first > 0 && this.#writers[theirs + first - 1] !== this.#writers[own + first - 1]) first--;
      this.#writers.copyWithin(own + first, theirs + first, theirs + end - this.#promptSlots);
      const start = this.#promptSlots + first;
      copied += end - start;
      if (start === end) continue;
      for (const { heads, headWidth, data } of this.#self) {
        const at = (row: number, head: number): number => (row * heads + head) * this.#slots * headWidth;
        for (let head = 0; head < heads; head++) data.copyWithin(at(to, head) + start * headWidth, at(from, head) + start * headWidth, at(from, head) + end * headWidth);
      }
    }
    return copied;
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
