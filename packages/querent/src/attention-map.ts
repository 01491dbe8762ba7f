/** Probabilities over patches as a map: down and across, without the token that stands for the whole image. */
import type { AttentionMap, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';

/**
 * @param weights float32 [rows, patches], of a square grid with or without one token before it
 * @throws QuerentError QRT_MODEL_UNSUPPORTED when the patches are no square grid.
 */
export function attentionMap(weights: TensorData<'float32'>, row: number, word?: string): AttentionMap {
  const patches = weights.shape[1] ?? 0;
  const side = Math.floor(Math.sqrt(patches));
  const before = patches - side * side;
  if (side === 0 || before > 1) {
    throw new QuerentError('QRT_MODEL_UNSUPPORTED', `The encoder gives ${patches} patches, which are no square grid.`, { fix: 'Use an encoder with a square grid of patches.' });
  }
  const grid = Float32Array.from(weights.data.subarray(row * patches + before, (row + 1) * patches));
  const sum = grid.reduce((a, b) => a + b, 0);
  return { ...(word === undefined ? {} : { word }), rows: side, columns: side, weights: sum > 0 ? grid.map((weight) => weight / sum) : grid };
}
