/** Tensors of a batch, together and apart. */
import { QuerentError } from '@querent/core';
import type { TensorData } from '@querent/core';

/**
 * Rows of one shape as one batch: float32 [...] each → [rows, ...]. Copies.
 *
 * @throws QuerentError QRT_USAGE when there is none, or their shapes differ.
 */
export function stack(rows: readonly TensorData<'float32'>[]): TensorData<'float32'> {
  const first = rows[0];
  if (first === undefined) throw new QuerentError('QRT_USAGE', 'A batch of no tensors was asked for.', { fix: 'Give at least one.' });
  const size = first.data.length;
  const data = new Float32Array(rows.length * size);
  rows.forEach((row, i) => {
    if (row.shape.length !== first.shape.length || row.shape.some((dim, axis) => dim !== first.shape[axis])) {
      throw new QuerentError('QRT_USAGE', `Row ${i} of a batch is [${row.shape.join(', ')}]; the first one is [${first.shape.join(', ')}].`, {
        fix: 'Prepare all rows with the same model.',
      });
    }
    data.set(row.data, i * size);
  });
  return { dtype: 'float32', shape: [rows.length, ...first.shape], data };
}

/** A batch as its rows: [rows, ...] → float32 [...] each, over the batch's memory. */
export function unstack(batch: TensorData<'float32'>): TensorData<'float32'>[] {
  const [rows = 0, ...shape] = batch.shape;
  const size = rows === 0 ? 0 : batch.data.length / rows;
  return Array.from({ length: rows }, (_, i) => ({ dtype: 'float32', shape, data: batch.data.subarray(i * size, (i + 1) * size) }));
}
