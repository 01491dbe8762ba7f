import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createNeighbourPlan } from './neighbours.ts';

/** Ten clusters on a circle, far apart. */
function circle(samples: number): Float32Array {
  return Float32Array.from({ length: samples * 2 }, (_, i) => {
    const angle = (((i >> 1) % 10) / 10 + 0.001 * ((i >> 1) % 7)) * 2 * Math.PI;
    return i % 2 === 0 ? Math.cos(angle) : Math.sin(angle);
  });
}

it('shows in each epoch every sample at most once, in full batches', () => {
  fc.assert(
    fc.property(fc.integer({ min: 4, max: 90 }), fc.integer({ min: 1, max: 9 }), fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(), (samples, batchSize, share, seed) => {
      fc.pre(samples >= batchSize);
      const plan = createNeighbourPlan({ samples, batchSize, share, seed, vectors: circle(samples) });
      const shown = Array.from({ length: plan.batchesPerEpoch }, (_, i) => plan.at(i)).flat();
      expect(shown.length).toBe(plan.batchesPerEpoch * batchSize);
      expect(new Set(shown).size).toBe(shown.length);
      expect(shown.every((sample) => sample >= 0 && sample < samples)).toBe(true);
    }),
  );
});

it('puts neighbours into one batch, in the share that is asked for', () => {
  const pure = (share: number): number => {
    const plan = createNeighbourPlan({ samples: 200, batchSize: 10, share, seed: 3, vectors: circle(200) });
    return Array.from({ length: 20 }, (_, i) => plan.at(i)).filter((batch) => new Set(batch.map((sample) => sample % 10)).size === 1).length;
  };
  expect(pure(0)).toBe(0);
  expect(pure(0.5)).toBeGreaterThanOrEqual(8);
  expect(pure(1)).toBeGreaterThan(pure(0.5));
});

it('is a function of the step alone, and another in the next epoch', () => {
  const options = { samples: 60, batchSize: 6, share: 0.5, seed: 1, vectors: circle(60) };
  const plan = createNeighbourPlan(options);
  const later = plan.at(13);
  plan.at(2);
  expect(plan.at(13)).toEqual(later);
  expect(createNeighbourPlan(options).at(13)).toEqual(later);
  expect(plan.at(3)).not.toEqual(later);
});
