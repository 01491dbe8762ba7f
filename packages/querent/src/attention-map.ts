/** Probabilities over patches as a map: down and across, without the token that stands for the whole image. */
import type { AttentionMap, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';

/** What a map is of. */
export interface AttentionMapOptions {
  readonly word?: string;
  /** One map for each query; otherwise one, their mean. */
  readonly perQuery?: boolean;
}

/**
 * The maps of one row.
 *
 * @param weights float32 [rows, queries, patches], of a square grid with or without one token before it
 * @throws QuerentError QRT_MODEL_UNSUPPORTED when the patches are no square grid.
 */
export function attentionMaps(weights: TensorData<'float32'>, row: number, { word, perQuery = false }: AttentionMapOptions = {}): AttentionMap[] {
  const [, queries = 0, patches = 0] = weights.shape;
  const side = Math.floor(Math.sqrt(patches));
  const before = patches - side * side;
  if (side === 0 || before > 1) {
    throw new QuerentError('QRT_MODEL_UNSUPPORTED', `The encoder gives ${patches} patches, which are no square grid.`, { fix: 'Use an encoder with a square grid of patches.' });
  }
  const looks = Array.from({ length: queries }, (_, query) => {
    const start = (row * queries + query) * patches;
    return weights.data.subarray(start + before, start + patches);
  });
  const named = word === undefined ? {} : { word };
  const map = (grid: Float32Array): AttentionMap => ({ ...named, rows: side, columns: side, weights: normalised(grid) });
  if (perQuery) return looks.map((look, query) => ({ ...map(look), query }));
  const mean = new Float32Array(side * side);
  for (const look of looks) look.forEach((weight, i) => (mean[i] = mean[i]! + weight / queries));
  return [map(mean)];
}

/** Summing to 1, without the share of the token that was cut off. */
function normalised(grid: Float32Array): Float32Array {
  const sum = grid.reduce((a, b) => a + b, 0);
  return sum > 0 ? grid.map((weight) => weight / sum) : grid.slice();
}
