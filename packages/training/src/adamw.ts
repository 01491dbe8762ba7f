/**
 * AdamW (Loshchilov and Hutter 2019), in place. Decoupled decay: `p *= 1 - lr·wd` before the Adam update; moments bias-corrected; eps after
 * the square root (torch.optim.AdamW). In float32 as torch's, by WebAssembly with 128-bit vectors (`wasm/build.mjs`): a plain loop in JavaScript
 * takes several times as long, which was a seventh of a training step. WebAssembly reaches its own memory only, so moments and gradients live
 * there; what lives elsewhere, as the values do, is carried in and out in strips that stay in the processor's cache.
 */
import { openKernel } from '@querent/core';
import type { KernelMemory } from '@querent/core';
import { ADAMW_KERNEL } from './adamw-kernel.ts';
import type { TrainedParameter } from './optimisers.ts';

export interface AdamWOptions {
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  readonly weightDecay: number;
}

export const ADAMW_DEFAULTS: AdamWOptions = { betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0.05 };

interface Kernel extends KernelMemory {
  /** Byte addresses, then numbers. */
  step(p: number, m: number, v: number, g: number, end: number, ...numbers: number[]): void;
}

const FLOAT_BYTES = Float32Array.BYTES_PER_ELEMENT;
/** Elements of one strip. */
const STRIP = 32_768;
const STRIP_BYTES = STRIP * FLOAT_BYTES;
const PAGE_BYTES = 65_536;
/** WebAssembly counts addresses in 32 bits. */
const MOST_BYTES = 2 ** 32;
/** The kernel takes four elements at a time, and writes over the end of the last. */
const VECTOR_BYTES = 16;

const wholeVectors = (length: number): number => Math.ceil((length * FLOAT_BYTES) / VECTOR_BYTES) * VECTOR_BYTES;

/** The optimiser of one training. */
export class AdamW {
  readonly #kernel = openKernel<Kernel>(ADAMW_KERNEL);
  readonly #strips: readonly Float32Array[];
  /** Bytes that are given away: the strips come first. */
  #used = 4 * STRIP_BYTES;

  /** @param lengths of the parameters: `allocate` has room for two moments and a gradient of each. Memory cannot grow under arrays that lie in it. */
  constructor(lengths: readonly number[] = []) {
    const { memory } = this.#kernel;
    const grow = (bytes: number): unknown => memory.grow(Math.ceil(Math.min(bytes, MOST_BYTES) / PAGE_BYTES) - 1); // it begins with one
    try {
      grow(lengths.reduce((sum, length) => sum + 3 * wholeVectors(length), this.#used));
    } catch {
      grow(this.#used); // where a process may not have as much in one piece: all goes through the strips
    }
    this.#strips = [0, 1, 2, 3].map((i) => new Float32Array(memory.buffer, i * STRIP_BYTES, STRIP));
  }

  /** Zeros where the kernel reaches them; anywhere when there is no room left. */
  readonly allocate = (length: number): Float32Array => {
    const { buffer } = this.#kernel.memory;
    const end = this.#used + wholeVectors(length);
    if (end > buffer.byteLength) return new Float32Array(length);
    const taken = new Float32Array(buffer, this.#used, length);
    this.#used = end;
    return taken;
  };

  /** One update in place. `step` counts from 1. */
  step({ values, moments, decays, learningRateScale }: TrainedParameter, gradient: Float32Array, learningRate: number, step: number, options: AdamWOptions): void {
    const [beta1, beta2] = options.betas;
    const rate = learningRate * learningRateScale;
    const keep = decays ? 1 - rate * options.weightDecay : 1;
    const stepSize = rate / (1 - beta1 ** step);
    const correction = 1 / Math.sqrt(1 - beta2 ** step);
    const numbers = [beta1, 1 - beta1, beta2, 1 - beta2, keep, stepSize, correction, options.epsilon];
    const arrays = [values, moments.first, moments.second, gradient];
    for (let from = 0; from < values.length; from += STRIP) {
      const count = Math.min(STRIP, values.length - from);
      const [p = 0, m = 0, v = 0, g = 0] = arrays.map((array, i) => this.#carryIn(array, from, count, i));
      this.#kernel.step(p, m, v, g, p + count * FLOAT_BYTES, ...numbers);
      arrays.slice(0, 3).forEach((array, i) => this.#carryOut(array, from, count, i));
    }
  }

  #isReached(array: Float32Array): boolean {
    return array.buffer === this.#kernel.memory.buffer;
  }

  /** The address of these elements, in their strip unless the kernel reaches them where they are. */
  #carryIn(array: Float32Array, from: number, count: number, strip: number): number {
    if (this.#isReached(array)) return array.byteOffset + from * FLOAT_BYTES;
    this.#strips[strip]!.set(array.subarray(from, from + count));
    return strip * STRIP_BYTES;
  }

  #carryOut(array: Float32Array, from: number, count: number, strip: number): void {
    if (!this.#isReached(array)) array.set(this.#strips[strip]!.subarray(0, count), from);
  }
}
