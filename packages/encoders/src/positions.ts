/**
 * Position embeddings of a ViT for images of another size than it was trained on: the grid of embeddings is resized
 * bicubically as `torch.nn.functional.interpolate(mode="bicubic", align_corners=False)` does. Resizing is linear in the
 * embeddings, so it enters the graph as one constant matrix: engines fold it, and gradients pass through.
 */
import type { Tensor } from '@querent/core';
import { QuerentError, allocate } from '@querent/core';
import { concat, constant, matMul, slice } from '@querent/graph';

/** Keys' parameter of the cubic convolution in PyTorch (Pillow takes -0.5). */
const SHARPNESS = -0.75;

function cubic(distance: number): number {
  const x = Math.abs(distance);
  if (x <= 1) return ((SHARPNESS + 2) * x - (SHARPNESS + 3)) * x * x + 1;
  return x < 2 ? ((x - 5) * x + 8) * x * SHARPNESS - 4 * SHARPNESS : 0;
}

/** Row `i` holds what each of the `from` cells gives to cell `i` of `to`. Cells beyond the edge repeat it. */
function resizeMatrix(from: number, to: number): number[][] {
  return Array.from({ length: to }, (_, i) => {
    const center = ((i + 0.5) * from) / to - 0.5;
    const row = Array.from({ length: from }, () => 0);
    for (let tap = Math.floor(center) - 1; tap <= Math.floor(center) + 2; tap++) {
      const cell = Math.min(Math.max(tap, 0), from - 1);
      row[cell] = row[cell]! + cubic(tap - center);
    }
    return row;
  });
}

export interface Grid {
  readonly rows: number;
  readonly columns: number;
}

export interface ResizePositionsOptions {
  /** Rows of the table that stand before the grid and stay as they are: [CLS]'s. Default 1; 0 where there is none. */
  readonly leading?: number;
}

/**
 * `table` [1, leading + from.rows * from.columns, width] for a grid of another size; itself when the sizes are the same.
 */
export function resizePositions(table: Tensor, from: Grid, to: Grid, options: ResizePositionsOptions = {}): Tensor {
  if (from.rows === to.rows && from.columns === to.columns) return table;
  const leading = options.leading ?? 1;
  const vertical = resizeMatrix(from.rows, to.rows);
  const horizontal = resizeMatrix(from.columns, to.columns);
  const [source, target] = [from.rows * from.columns, to.rows * to.columns];
  const weights = allocate('float32', target * source);
  let next = 0;
  for (const v of vertical) for (const h of horizontal) for (const a of v) for (const b of h) weights[next++] = a * b;
  const matrix = constant(table, { dtype: 'float32', shape: [target, source], data: weights });
  const grid = matMul(matrix, slice(table, 1, leading, Infinity)); // [1, target, width]
  return leading === 0 ? grid : concat([slice(table, 1, 0, leading), grid], 1); // [1, leading + target, width]
}

/**
 * The grid of patches over pixels [batch, channels, height, width]; what does not fill a patch is left out.
 * @throws QuerentError QRT_GRAPH_OP when the size is symbolic or smaller than a patch.
 */
export function patchGrid(pixelValues: Tensor, patch: number): Grid {
  const [, , height, width] = pixelValues.shape;
  if (pixelValues.shape.length !== 4 || typeof height !== 'number' || typeof width !== 'number' || height < patch || width < patch) {
    throw new QuerentError('QRT_GRAPH_OP', `An encoder was given pixels [${pixelValues.shape.join(', ')}]; expected [batch, channels, height, width] of at least ${patch} x ${patch} pixels, height and width as numbers.`, {
      fix: "Declare pixel_values with the size of the preprocessor's config.",
    });
  }
  return { rows: Math.floor(height / patch), columns: Math.floor(width / patch) };
}
