/**
 * Which samples make which batch: a pure function of seed, epoch and step, so that a killed run finds its place again
 * without any state but the step. Samples of like length share a batch, since padding is computed and thrown away.
 */
import { createRandom } from '@querent/images';
import type { Random } from '@querent/images';

/** Mixes numbers into one seed (a 32-bit finaliser over each): different inputs, unrelated streams. */
export function mixSeed(...parts: readonly number[]): number {
  let hash = 0x9e3779b9;
  for (const part of parts) {
    hash = Math.imul(hash ^ (part | 0), 0x85ebca6b);
    hash ^= hash >>> 13;
    hash = Math.imul(hash, 0xc2b2ae35);
    hash ^= hash >>> 16;
  }
  return hash >>> 0;
}

/** A random source for one purpose at one place of a run. */
export function randomAt(...parts: readonly number[]): Random {
  return createRandom(mixSeed(...parts));
}

export interface BatchPlan {
  readonly batchesPerEpoch: number;
  /** Sample indices of the batch at `step`; the last, smaller one of an epoch is left out. */
  at(step: number): readonly number[];
}

/** A plan from the batches of each epoch, all of `batchesPerEpoch`; those of one epoch are remembered. */
export function planOf(batchesPerEpoch: number, batchesOf: (epoch: number) => readonly (readonly number[])[]): BatchPlan {
  let known: { readonly epoch: number; readonly batches: readonly (readonly number[])[] } | undefined;
  return {
    batchesPerEpoch,
    at: (step) => {
      const epoch = Math.floor(step / batchesPerEpoch);
      if (known?.epoch !== epoch) known = { epoch, batches: batchesOf(epoch) };
      return known.batches[step % batchesPerEpoch]!;
    },
  };
}

export interface BatchPlanOptions {
  readonly samples: number;
  readonly batchSize: number;
  readonly seed: number;
  /** Length of a sample; batches are cut from runs of samples sorted by it. */
  readonly lengthOf?: (sample: number) => number;
  /** Batches whose samples are sorted together. Default 32. */
  readonly sortedBatches?: number;
}

/** Shuffles each epoch anew; two samples of one batch are always different ones. */
export function createBatchPlan(options: BatchPlanOptions): BatchPlan {
  const { samples, batchSize, seed, lengthOf } = options;
  const batchesPerEpoch = Math.floor(samples / batchSize);
  return planOf(batchesPerEpoch, (epoch) => {
    const random = randomAt(seed, epoch, 1);
    const shuffled = random.shuffle(Array.from({ length: samples }, (_, i) => i));
    const batches: number[][] = [];
    const run = batchSize * (options.sortedBatches ?? 32);
    for (let start = 0; start < samples; start += run) {
      const part = shuffled.slice(start, start + run);
      if (lengthOf !== undefined) part.sort((a, b) => lengthOf(a) - lengthOf(b));
      for (let i = 0; i + batchSize <= part.length; i += batchSize) batches.push(part.slice(i, i + batchSize));
    }
    return random.shuffle(batches);
  });
}
