/** Ids in the layouts that transformers and the contracts here have: rows, and padding moved to the other side. */
import type { TensorData } from '@querent/core';
import { int64 } from '@querent/core';

/** The first row of an integer [batch, tokens] tensor. */
export function firstRow(tensor: TensorData): TensorData<'int64'> {
  const tokens = tensor.shape[1] ?? 0;
  return int64([1, tokens], Array.from(tensor.data.slice(0, tokens), Number));
}

/** Lists of ids, one a row. */
export function rowsOf(tensor: TensorData): number[][] {
  const [batch = 0, tokens = 0] = tensor.shape;
  return Array.from({ length: batch }, (_, row) => Array.from(tensor.data.slice(row * tokens, (row + 1) * tokens), Number));
}

/** Rows of any length as one int64 tensor, filled up on one side. */
export function padded(rows: readonly (readonly number[])[], filler: number, side: 'left' | 'right'): TensorData<'int64'> {
  const width = Math.max(1, ...rows.map((row) => row.length));
  const filled = rows.map((row) => {
    const padding = new Array<number>(width - row.length).fill(filler);
    return side === 'left' ? [...padding, ...row] : [...row, ...padding];
  });
  return int64([rows.length, width], filled.flat());
}
