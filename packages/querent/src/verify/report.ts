/**
 * What `querent verify` finds: for each expected output the largest difference, absolute and relative to the output's largest
 * magnitude, and whether it is within the tolerance.
 */
import type { TensorData } from '@querent/core';

/** Of a tensor's largest magnitude; gradients and beam scores have {@link LOOSE}. */
export const TOLERANCE = 1e-4;
export const LOOSE = 1e-3;

/** One output compared. */
export interface Comparison {
  readonly name: string;
  /** Largest |a - b|; of ids: how many differ. Infinity for a NaN or another shape. */
  readonly absolute: number;
  /** {@link Comparison.absolute} over the largest magnitude of what was expected. */
  readonly relative: number;
  /** What `relative` may be; 0 is exact. */
  readonly tolerance: number;
  readonly isWithin: boolean;
  /** Why, where numbers do not say it. */
  readonly note?: string;
}

export interface CompareOptions {
  readonly tolerance?: number;
  /** One entry for each row along the leading axes: rows with 0 (padding) are not compared. */
  readonly counts?: ArrayLike<number | bigint>;
}

/** Compares values; where counts are given, only the rows that count. A scalar equals a tensor of one element. */
export function compareTensors(name: string, actual: TensorData, expected: TensorData, options: CompareOptions = {}): Comparison {
  const tolerance = options.tolerance ?? (name.startsWith('grad/') ? LOOSE : TOLERANCE);
  if (actual.data.length !== expected.data.length || (actual.data.length > 1 && actual.shape.join() !== expected.shape.join())) {
    return { name, absolute: Infinity, relative: Infinity, tolerance, isWithin: false, note: `shape [${actual.shape.join(', ')}] instead of [${expected.shape.join(', ')}]` };
  }
  const rowLength = options.counts === undefined ? expected.data.length : expected.data.length / options.counts.length;
  let largest = 0;
  let absolute = 0;
  for (let i = 0; i < expected.data.length; i++) {
    if (options.counts !== undefined && Number(options.counts[Math.floor(i / rowLength)]) === 0) continue;
    const [a, b] = [Number(actual.data[i]), Number(expected.data[i])];
    largest = Math.max(largest, Math.abs(b));
    absolute = Math.max(absolute, Number.isNaN(a) !== Number.isNaN(b) ? Infinity : Math.abs(a - b) || 0);
  }
  const relative = absolute === 0 ? 0 : absolute / (largest === 0 ? 1 : largest);
  return { name, absolute, relative, tolerance, isWithin: relative <= tolerance };
}

/** Lists that must be equal, each with what it is called in the note: ids, tokens, texts. */
export function compareExactly(name: string, pairs: Iterable<{ readonly actual: unknown; readonly expected: unknown; readonly of?: string }>): Comparison {
  let different = 0;
  let count = 0;
  let note: string | undefined;
  for (const { actual, expected, of } of pairs) {
    count++;
    const [found, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
    if (found === wanted) continue;
    different++;
    note ??= `${of === undefined ? '' : `${of}: `}${cut(found)} instead of ${cut(wanted)}`;
  }
  return { name, absolute: different, relative: count === 0 ? 0 : different / count, tolerance: 0, isWithin: different === 0, ...(note === undefined ? {} : { note }) };
}

function cut(text: string | undefined): string {
  const shown = text ?? 'nothing';
  return shown.length > 120 ? `${shown.slice(0, 120)}…` : shown;
}

/** All comparisons of one fixture folder. */
export interface VerifyReport {
  readonly folder: string;
  /** What the folder was taken for, for instance `encoder vit`. */
  readonly kind: string;
  readonly outputs: readonly Comparison[];
  /** Expected outputs that were not computed, with the reason. */
  readonly notCompared: readonly { readonly name: string; readonly reason: string }[];
  /** Everything compared is within its tolerance, and something was compared. */
  readonly isWithin: boolean;
}
