/**
 * Weights of a product in 8-bit integers with a scale for each out feature, symmetric about 0: what ONNX Runtime's DynamicQuantizeMatMul
 * multiplies with inputs of 8 bits. Coarser than the blocks of `quantise.ts`, and faster: sums stay integers from end to end.
 */

/** A matrix of integers. */
export interface QuantisedColumns {
  /** int8 [in, out] */
  readonly data: Int8Array;
  /** float32 [out]: what 1 stands for. */
  readonly scales: Float32Array;
}

export interface QuantiseColumnsOptions {
  readonly isTransposed?: boolean;
  readonly largest?: number;
}

/** Side of the squares that are turned at once, so that both sides stay in the processor's cache. */
const TILE = 64;

/**
 * @param values float32 [out, in], or [in, out] where `isTransposed`; NaN becomes 0, infinities the column's largest value
 * @param rows out features
 * @param columns in features
 * @param options `largest`: the integer that a column's largest value becomes. Default 127, all 8 bits.
 */
export function quantiseColumns(values: Float32Array, rows: number, columns: number, { isTransposed = false, largest = 127 }: QuantiseColumnsOptions = {}): QuantisedColumns {
  const [rowStep, columnStep] = isTransposed ? [1, rows] : [columns, 1];
  const scales = new Float32Array(rows);
  const inverse = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let most = 0;
    for (let column = 0, at = row * rowStep; column < columns; column++, at += columnStep) {
      const size = Math.abs(values[at] as number); // in range, here and below
      if (size > most && size !== Infinity) most = size;
    }
    scales[row] = most / largest;
    inverse[row] = most === 0 ? 0 : largest / most;
  }
  const data = new Int8Array(rows * columns);
  for (let top = 0; top < rows; top += TILE) {
    for (let left = 0; left < columns; left += TILE) {
      for (let row = top; row < Math.min(rows, top + TILE); row++) {
        const factor = inverse[row] as number;
        for (let column = left; column < Math.min(columns, left + TILE); column++) {
          const steps = Math.round((values[row * rowStep + column * columnStep] as number) * factor);
          data[column * rows + row] = steps > largest ? largest : steps < -largest ? -largest : steps; // NaN is stored as 0
        }
      }
    }
  }
  return { data, scales };
}
