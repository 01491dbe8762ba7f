/** Whose vectors a store holds: comparing before anything is added or asked. */
import { QuerentError } from '@querent/core';
import type { StoreSpace } from '@querent/core';

/** Two runs of one model agree on its probe far better than this; two models never do. */
const SAME = 0.999;

/** @throws QuerentError QRT_STORE when the vectors of a store and those to come are not of one model. */
export function assertSpace(there: StoreSpace, wanted: StoreSpace, location: string): void {
  const sizes = ({ queries, shared }: StoreSpace): string => `[${queries}, ${shared}]`;
  const fix = `Name the model it was made with (${there.model}), or index into another place.`;
  if (there.queries !== wanted.queries || there.shared !== wanted.shared) {
    throw new QuerentError('QRT_STORE', `${location} holds vectors ${sizes(there)} of ${there.model}; ${wanted.model} gives ${sizes(wanted)}.`, { fix, details: { location } });
  }
  let cosine = 0;
  for (let k = 0; k < there.probe.length; k++) cosine += there.probe[k]! * (wanted.probe[k] ?? 0);
  if (!(cosine >= SAME)) {
    throw new QuerentError('QRT_STORE', `${location} holds vectors of ${there.model}; those of ${wanted.model} are others (cosine ${cosine.toFixed(3)} for the same text).`, { fix, details: { location, cosine } });
  }
}

/**
 * How many vectors there are. @param count how many there must be; any number when absent
 * @throws QuerentError QRT_USAGE when they do not fit the space, or hold what is not a number.
 */
export function assertVectors(vectors: Float32Array, { shared }: StoreSpace, count?: number): number {
  const found = vectors.length / shared;
  if (!Number.isInteger(found) || found === 0 || (count !== undefined && found !== count)) {
    throw new QuerentError('QRT_USAGE', `${vectors.length} numbers are no vectors [${count ?? 'n'}, ${shared}].`, { fix: 'Give vectors of the model that the store was made with.' });
  }
  if (!vectors.every(Number.isFinite)) throw new QuerentError('QRT_USAGE', 'A vector holds what is not a finite number.', { fix: 'Check the model: it gives NaN or infinity for this image.' });
  return found;
}
