import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createBatchPlan, mixSeed, randomAt } from './batches.ts';

const plans = fc.record({
  samples: fc.integer({ min: 1, max: 200 }),
  batchSize: fc.integer({ min: 1, max: 16 }),
  seed: fc.nat(),
  sortedBatches: fc.integer({ min: 1, max: 5 }),
});

it('shows in each epoch every sample at most once, and leaves out less than a batch', () => {
  fc.assert(
    fc.property(plans, fc.boolean(), (options, isSorted) => {
      fc.pre(options.samples >= options.batchSize);
      const plan = createBatchPlan({ ...options, ...(isSorted ? { lengthOf: (sample: number) => (sample * 7) % 13 } : {}) });
      for (let epoch = 0; epoch < 3; epoch++) {
        const shown = Array.from({ length: plan.batchesPerEpoch }, (_, i) => plan.at(epoch * plan.batchesPerEpoch + i)).flat();
        expect(new Set(shown).size).toBe(shown.length);
        expect(shown.every((sample) => sample >= 0 && sample < options.samples)).toBe(true);
        expect(options.samples - shown.length).toBeLessThan(options.batchSize);
        expect(shown.length % options.batchSize).toBe(0);
      }
    }),
  );
});

it('is a function of the step alone, in whatever order it is asked', () => {
  fc.assert(
    fc.property(plans, fc.array(fc.nat(60), { minLength: 2, maxLength: 12 }), (options, steps) => {
      fc.pre(options.samples >= options.batchSize);
      const plan = createBatchPlan(options);
      const fresh = (step: number): readonly number[] => createBatchPlan(options).at(step);
      for (const step of steps) expect(plan.at(step)).toEqual(fresh(step));
    }),
  );
});

it('puts samples of like length into one batch', () => {
  const lengthOf = (sample: number): number => (sample * 37) % 101;
  const spread = (plan: ReturnType<typeof createBatchPlan>): number => {
    let total = 0;
    for (let step = 0; step < plan.batchesPerEpoch; step++) {
      const lengths = plan.at(step).map(lengthOf);
      total += Math.max(...lengths) - Math.min(...lengths);
    }
    return total / plan.batchesPerEpoch;
  };
  const options = { samples: 512, batchSize: 8, seed: 1 };
  expect(spread(createBatchPlan({ ...options, lengthOf }))).toBeLessThan(8);
  expect(spread(createBatchPlan(options))).toBeGreaterThan(50);
});

it('shuffles anew in each epoch and with each seed', () => {
  const plan = createBatchPlan({ samples: 64, batchSize: 8, seed: 1 });
  const epoch = (p: typeof plan, e: number): number[] => Array.from({ length: 8 }, (_, i) => p.at(e * 8 + i)).flat();
  expect(epoch(plan, 0)).not.toEqual(epoch(plan, 1));
  expect(epoch(plan, 0)).not.toEqual(epoch(createBatchPlan({ samples: 64, batchSize: 8, seed: 2 }), 0));
});

it('mixes its parts in order into a 32-bit seed', () => {
  const seeds = new Set<number>();
  for (let a = 0; a < 40; a++) for (let b = 0; b < 40; b++) seeds.add(mixSeed(a, b));
  expect(seeds.size).toBe(1600);
  expect(randomAt(1, 2).next()).toBe(randomAt(1, 2).next());
  expect(randomAt(1, 2).next()).not.toBe(randomAt(2, 1).next());
});
