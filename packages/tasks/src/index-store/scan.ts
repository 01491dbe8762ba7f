/**
 * A block of quantised images in memory of its own, and the search over it: WebAssembly with 128-bit vectors
 * (`wasm/build.mjs`). Blocks are small enough that one is scanned in a few milliseconds: a caller takes a breath between them.
 */
import { openKernel } from '@querent/core';
import type { KernelMemory } from '@querent/core';
import { BLOCK, paddedLength, quantiseQuery } from './quantise.ts';
import type { QuantisedVectors } from './quantise.ts';
import { SCAN_KERNEL } from './scan-kernel.ts';

interface Kernel extends KernelMemory {
  scan(vectors: number, scales: number, query: number, step: number, images: number, queries: number, blocks: number, largest: number, sums: number): void;
}

/** Bytes of vectors in a block, about. */
const BLOCK_BYTES = 32 << 20;
const PAGE = 65_536;

/** Rows that fit one block. */
export function rowsPerBlock(queries: number, shared: number): number {
  return Math.max(1, Math.floor(BLOCK_BYTES / (queries * paddedLength(shared))));
}

/** Vectors of one question, ready to be compared. */
export interface ScanQuery {
  /** int16 [asked, padded] */
  readonly data: Int16Array;
  readonly scale: number;
  readonly asked: number;
}

/** @param vectors float32 [asked, shared] */
export function scanQuery(vectors: Float32Array, shared: number): ScanQuery {
  return { ...quantiseQuery(vectors, shared), asked: vectors.length / shared };
}

/** Up to {@link rowsPerBlock} images. */
export class ScanBlock {
  readonly capacity: number;
  readonly #kernel: Kernel;
  readonly #queries: number;
  readonly #padded: number;
  readonly #at: { readonly scales: number; readonly query: number; readonly largest: number; readonly sums: number };
  #rows = 0;

  constructor(queries: number, shared: number, capacity: number = rowsPerBlock(queries, shared)) {
    this.capacity = capacity;
    this.#queries = queries;
    this.#padded = paddedLength(shared);
    this.#kernel = openKernel<Kernel>(SCAN_KERNEL);
    const scales = capacity * queries * this.#padded;
    const query = align(scales + 4 * capacity * queries);
    const largest = query + 2 * queries * this.#padded;
    const sums = largest + 4 * capacity;
    this.#at = { scales, query, largest, sums };
    const missing = sums + 4 * capacity - this.#kernel.memory.buffer.byteLength;
    if (missing > 0) this.#kernel.memory.grow(Math.ceil(missing / PAGE)); // pages are the system's only once they are written
  }

  get rows(): number {
    return this.#rows;
  }

  /** Adds as many of the images from `start` on as there is room for; how many. @param images vectors of whole images, [images * queries, padded] */
  append(images: QuantisedVectors, start: number): number {
    const count = Math.min(images.scales.length / this.#queries - start, this.capacity - this.#rows);
    const size = this.#queries * this.#padded;
    const { buffer } = this.#kernel.memory;
    new Int8Array(buffer).set(images.data.subarray(start * size, (start + count) * size), this.#rows * size);
    new Float32Array(buffer, this.#at.scales).set(images.scales.subarray(start * this.#queries, (start + count) * this.#queries), this.#rows * this.#queries);
    this.#rows += count;
    return count;
  }

  /** The bytes of a row, a copy. */
  row(index: number): QuantisedVectors {
    const size = this.#queries * this.#padded;
    const { buffer } = this.#kernel.memory;
    return {
      data: new Int8Array(buffer, index * size, size).slice(),
      scales: new Float32Array(buffer, this.#at.scales + 4 * index * this.#queries, this.#queries).slice(),
    };
  }

  /** The largest cosine of each row's vectors with one vector: float32 [rows], valid until the next call. */
  largest(query: ScanQuery, which: number = 0, start: number = 0, rows: number = this.#rows): Float32Array {
    this.#scan(query.data.subarray(which * this.#padded, (which + 1) * this.#padded), 0, start, rows);
    return scaled(new Float32Array(this.#kernel.memory.buffer, this.#at.largest, rows), query.scale);
  }

  /** The mean cosine of each row's vectors with the question's, first with first and so on: float32 [rows], valid until the next call. */
  aligned(query: ScanQuery): Float32Array {
    this.#scan(query.data, 2 * this.#padded, 0, this.#rows);
    return scaled(new Float32Array(this.#kernel.memory.buffer, this.#at.sums, this.#rows), query.scale / this.#queries);
  }

  /** The mean over the question's vectors of the largest cosine with one row's. */
  meanOfLargest(query: ScanQuery, row: number): number {
    let sum = 0;
    for (let i = 0; i < query.asked; i++) sum += this.largest(query, i, row, 1)[0] ?? 0;
    return sum / query.asked;
  }

  #scan(query: Int16Array, step: number, start: number, rows: number): void {
    const { scales, query: at, largest, sums } = this.#at;
    new Int16Array(this.#kernel.memory.buffer, at).set(query);
    const vectors = start * this.#queries * this.#padded;
    this.#kernel.scan(vectors, scales + 4 * start * this.#queries, at, step, rows, this.#queries, this.#padded / BLOCK, largest, sums);
  }
}

function scaled(values: Float32Array, scale: number): Float32Array {
  for (let i = 0; i < values.length; i++) values[i]! *= scale;
  return values;
}

function align(offset: number): number {
  return Math.ceil(offset / 16) * 16;
}
