import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { learningRateAt, perEpoch } from './schedules.ts';
import type { PerStepSchedule } from './schedules.ts';

interface Recorded {
  readonly lavis_linear_warmup_cosine: {
    readonly params: { readonly init_lr: number; readonly min_lr: number; readonly warmup_start_lr: number; readonly warmup_steps: number; readonly max_epoch: number };
    readonly iters_per_epoch: number;
    readonly values: readonly (readonly number[])[];
  };
}

const golden = JSON.parse(readFileSync(new URL('../../../test/goldens/v1/optimiser/expected.json', import.meta.url), 'utf8')) as Recorded; // our own fixture

it('has the rates of LAVIS when it goes per epoch', () => {
  const { params, iters_per_epoch: stepsPerEpoch, values } = golden.lavis_linear_warmup_cosine;
  const schedule = { peak: params.init_lr, minimum: params.min_lr, warmupStart: params.warmup_start_lr, warmupSteps: params.warmup_steps, epochs: params.max_epoch };
  values.forEach((rates, epoch) =>
    rates.forEach((rate, step) => {
      expect(perEpoch(schedule, epoch, step)).toBeCloseTo(rate, 15);
      const whole = { type: 'linear_warmup_cosine_per_epoch', ...schedule, stepsPerEpoch } as const;
      expect(learningRateAt(whole, epoch * stepsPerEpoch + step, 50)).toBeCloseTo(rate, 15);
    }),
  );
});

const perStep = fc.record({
  type: fc.constant('linear_warmup_cosine' as const),
  peak: fc.double({ min: 1e-5, max: 1, noNaN: true }),
  minimum: fc.constant(1e-6),
  warmupSteps: fc.integer({ min: 0, max: 50 }),
});

it('climbs to the peak and falls to the minimum when it goes per step', () => {
  fc.assert(
    fc.property(perStep, fc.integer({ min: 60, max: 200 }), (schedule: PerStepSchedule, steps) => {
      const rates = Array.from({ length: steps + 1 }, (_, step) => learningRateAt(schedule, step, steps));
      const top = Math.max(0, schedule.warmupSteps - 1);
      expect(rates[top]).toBeCloseTo(schedule.peak, 12);
      expect(rates[steps]).toBeCloseTo(schedule.minimum, 12);
      for (let step = 1; step <= steps; step++) {
        if (step <= top) expect(rates[step]).toBeGreaterThan(rates[step - 1]!);
        else expect(rates[step]).toBeLessThanOrEqual(rates[step - 1]! * (1 + 1e-12)); // rounding
        expect(rates[step]).toBeGreaterThan(0);
      }
    }),
    { numRuns: 30 },
  );
});

it('stays at the minimum beyond the last step, and constant when it is constant', () => {
  expect(learningRateAt({ type: 'linear_warmup_cosine', peak: 1, minimum: 0.1, warmupSteps: 2 }, 500, 100)).toBeCloseTo(0.1, 12);
  expect(learningRateAt({ type: 'constant', peak: 0.3 }, 7, 10)).toBe(0.3);
});
