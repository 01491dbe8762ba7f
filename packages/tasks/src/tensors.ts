/** Tensors of a batch, together and apart. */
import { setImmediate } from 'node:timers/promises';
import { QuerentError } from '@querent/core';
import type { TensorData } from '@querent/core';

/** How long {@link stackInTurns} keeps the thread before it lets others run. */
const TURN_MS = 2;

/**
 * Rows of one shape as one batch: float32 [...] each → [rows, ...]. Copies.
 *
 * @throws QuerentError QRT_USAGE when there is none, or their shapes differ.
 */
export function stack(rows: readonly TensorData<'float32'>[]): TensorData<'float32'> {
  const copying = stackRows(rows);
  for (;;) {
    const step = copying.next();
    if (step.done === true) return step.value;
  }
}

/**
 * As {@link stack}, but lets other work run every few milliseconds: the pixels of a batch are ten megabytes, and memory that
 * is touched for the first time is slow.
 *
 * @param into the memory of the batch, used where it is large enough
 * @throws QuerentError QRT_USAGE as `stack`; the signal's reason on abort.
 */
export async function stackInTurns(rows: readonly TensorData<'float32'>[], signal?: AbortSignal, into?: Float32Array): Promise<TensorData<'float32'>> {
  const copying = stackRows(rows, into);
  let since = performance.now();
  for (;;) {
    const step = copying.next();
    if (step.done === true) return step.value;
    if (performance.now() - since < TURN_MS) continue;
    await setImmediate();
    signal?.throwIfAborted();
    since = performance.now();
  }
}

function* stackRows(rows: readonly TensorData<'float32'>[], into?: Float32Array): Generator<undefined, TensorData<'float32'>, undefined> {
  const first = rows[0];
  if (first === undefined) throw new QuerentError('QRT_USAGE', 'A batch of no tensors was asked for.', { fix: 'Give at least one.' });
  const size = first.data.length;
  const length = rows.length * size;
  const data = into !== undefined && into.length >= length ? into.subarray(0, length) : new Float32Array(length);
  for (const [i, row] of rows.entries()) {
    if (row.shape.length !== first.shape.length || row.shape.some((dim, axis) => dim !== first.shape[axis])) {
      throw new QuerentError('QRT_USAGE', `Row ${i} of a batch is [${row.shape.join(', ')}]; the first one is [${first.shape.join(', ')}].`, {
        fix: 'Prepare all rows with the same model.',
      });
    }
    data.set(row.data, i * size);
    yield;
  }
  return { dtype: 'float32', shape: [rows.length, ...first.shape], data };
}

/** A batch as its rows: [rows, ...] → float32 [...] each, over the batch's memory. */
export function unstack(batch: TensorData<'float32'>): TensorData<'float32'>[] {
  const [rows = 0, ...shape] = batch.shape;
  const size = rows === 0 ? 0 : batch.data.length / rows;
  return Array.from({ length: rows }, (_, i) => ({ dtype: 'float32', shape, data: batch.data.subarray(i * size, (i + 1) * size) }));
}
