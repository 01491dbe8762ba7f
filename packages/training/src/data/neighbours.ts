/**
 * Batches of photographs that look alike. Hard negatives of ITM are drawn within a batch: among a hundred photographs
 * drawn at random few are mistaken for each other, while re-ranking is asked to tell exactly such apart. So a share of the
 * batches is made of a photograph and those nearest to it (the idea of grouped mini-batches: GRIT-VLP, Byun et al. 2022).
 */
import type { BatchPlan } from './batches.ts';
import { planOf, randomAt } from './batches.ts';

export interface NeighbourPlanOptions {
  readonly samples: number;
  readonly batchSize: number;
  readonly seed: number;
  /** Share of an epoch's batches that are made of neighbours, 0 to 1. */
  readonly share: number;
  /** What is compared, by cosine: float32 [samples, width]. */
  readonly vectors: Float32Array;
}

/** Each epoch anew: which batches are of neighbours, and around whom. A function of the seed and the step alone. */
export function createNeighbourPlan(options: NeighbourPlanOptions): BatchPlan {
  const { samples, batchSize, seed, share } = options;
  const width = options.vectors.length / samples;
  const vectors = unitRows(options.vectors, width);
  const batchesPerEpoch = Math.floor(samples / batchSize);
  const grouped = Math.round(batchesPerEpoch * share);
  return planOf(batchesPerEpoch, (epoch) => {
    const random = randomAt(seed, epoch, 1);
    let left = random.shuffle(Array.from({ length: samples }, (_, i) => i));
    const batches: number[][] = [];
    for (let batch = 0; batch < batchesPerEpoch; batch++) {
      if (batch < grouped) left = nearestFirst(left, vectors, width);
      batches.push(left.slice(0, batchSize));
      left = left.slice(batchSize);
      // What is far from everybody must not always be the rest that an epoch leaves out.
      random.shuffle(left);
    }
    return random.shuffle(batches);
  });
}

/** The first of `samples`, then the others as they are more and more unlike it. */
function nearestFirst(samples: readonly number[], vectors: Float32Array, width: number): number[] {
  const pivot = samples[0]!;
  const likeness = new Map(samples.map((sample) => [sample, sample === pivot ? Infinity : dot(vectors, pivot * width, sample * width, width)]));
  return samples.toSorted((a, b) => likeness.get(b)! - likeness.get(a)!);
}

function dot(vectors: Float32Array, a: number, b: number, width: number): number {
  let sum = 0;
  for (let i = 0; i < width; i++) sum += vectors[a + i]! * vectors[b + i]!;
  return sum;
}

/** Rows centred on their mean and of length 1: without the mean, what all photographs share would be most of a cosine. */
function unitRows(vectors: Float32Array, width: number): Float32Array {
  const rows = vectors.length / width;
  const mean = new Float64Array(width);
  for (let i = 0; i < vectors.length; i++) mean[i % width]! += vectors[i]! / rows;
  const unit = new Float32Array(vectors.length);
  for (let row = 0; row < rows; row++) {
    let norm = 0;
    for (let i = 0; i < width; i++) norm += (vectors[row * width + i]! - mean[i]!) ** 2;
    const scale = 1 / Math.sqrt(Math.max(norm, 1e-12));
    for (let i = 0; i < width; i++) unit[row * width + i] = (vectors[row * width + i]! - mean[i]!) * scale;
  }
  return unit;
}
