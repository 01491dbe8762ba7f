/** Memory that is used again: preallocated outputs, and pools for the copies of feeds, those that both threads see and the worker's own. */
import type { Executable, TensorData } from '@querent/core';
import { QuerentError, viewAs, zeros } from '@querent/core';
import { evaluateDim } from '@querent/graph';

/**
 * Zero-filled outputs for `run(feeds, { into })`, to be used at every step whose named dims have these sizes.
 *
 * @param sizes Size of each named dim, for instance `{ batch: 1, tokens: 48 }`.
 * @param outputs Which outputs; all when absent.
 * @throws QuerentError QRT_USAGE when an output does not exist or its shape depends on a dim that was not given.
 *
 * @example
 * const into = allocateOutputs(decode, { batch: 1, tokens: 1 }, ['logits']);
 * for (;;) await decode.run(feeds, { into });
 */
export function allocateOutputs(
  executable: Pick<Executable, 'outputs'>,
  sizes: Readonly<Record<string, number>>,
  outputs: readonly string[] = executable.outputs.map(({ name }) => name),
): Record<string, TensorData> {
  const known = new Map(Object.entries(sizes));
  return Object.fromEntries(
    outputs.map((name) => {
      const port = executable.outputs.find((candidate) => candidate.name === name);
      if (port === undefined) {
        throw new QuerentError('QRT_USAGE', `There is no output ${name}; it has ${executable.outputs.map((output) => output.name).join(', ')}.`);
      }
      const shape = port.shape.map((dim) => {
        const size = evaluateDim(dim, known);
        if (size !== undefined) return size;
        throw new QuerentError('QRT_USAGE', `Output ${name} is [${port.shape.join(', ')}]; the size of ${dim} does not follow from ${JSON.stringify(sizes)}.`);
      });
      return [name, zeros(port.dtype, shape)];
    }),
  );
}

/** Bytes of feed buffers kept for the next runs, by each of the two threads. */
export const POOL_BYTES: number = 256 * 2 ** 20;

/** Buffers by exact size, kept up to a bound. Feeds have the same few sizes at every step. */
export class BufferPool {
  readonly #maxBytes: number;
  readonly #allocate: (byteLength: number) => ArrayBufferLike;
  readonly #free: Map<number, ArrayBufferLike[]> = new Map();
  #bytes = 0;

  constructor(maxBytes: number, allocate: (byteLength: number) => ArrayBufferLike = (byteLength) => new ArrayBuffer(byteLength)) {
    this.#maxBytes = maxBytes;
    this.#allocate = allocate;
  }

  /** Bytes that wait to be used. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A tensor equal to `source` over a buffer of its own, used again where one of that size is free. */
  copy(source: TensorData): TensorData {
    const { buffer, byteOffset, byteLength } = source.data;
    const target = this.#take(byteLength);
    new Uint8Array(target).set(new Uint8Array(buffer, byteOffset, byteLength));
    return { dtype: source.dtype, shape: [...source.shape], data: viewAs(source.dtype, new Uint8Array(target)) };
  }

  /** Gives a buffer back. Beyond the bound it is dropped. */
  give(buffer: ArrayBufferLike): void {
    const { byteLength } = buffer;
    if (byteLength === 0 || this.#bytes + byteLength > this.#maxBytes) return;
    this.#bytes += byteLength;
    const free = this.#free.get(byteLength);
    if (free === undefined) this.#free.set(byteLength, [buffer]);
    else free.push(buffer);
  }

  /** Drops everything. */
  clear(): void {
    this.#free.clear();
    this.#bytes = 0;
  }

  #take(byteLength: number): ArrayBufferLike {
    const buffer = this.#free.get(byteLength)?.pop();
    if (buffer === undefined) return this.#allocate(byteLength);
    this.#bytes -= byteLength;
    return buffer;
  }
}
