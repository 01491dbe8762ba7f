/** Verifies AdamW, clipping by the global norm, and the learning-rate schedules (no model, no config). */
import { QuerentError, float32 } from '@querent/core';
import { isJsonObject } from '@querent/hub';
import type { JsonObject } from '@querent/hub';
import { AdamW, clipGlobalNorm, learningRateAt, perEpoch, trainedParameter } from '@querent/training';
import { check, input, numberOf, part, reportOf } from './fixture.ts';
import type { Fixture } from './fixture.ts';
import type { VerifyReport } from './report.ts';
import { compareTensors } from './report.ts';

export function verifyOptimiser(fixture: Fixture): VerifyReport {
  adamW(fixture);
  clipping(fixture);
  schedules(fixture);
  return reportOf(fixture, 'optimiser');
}

function numbers(value: unknown, what: string): readonly number[] {
  if (!Array.isArray(value) || !value.every((item): item is number => typeof item === 'number')) {
    throw new QuerentError('QRT_CONFIG_INVALID', `expected.json: ${what} is no list of numbers.`, { fix: 'The fixture is not complete: make it again.' });
  }
  return value;
}

const valuesOf = (fixture: Fixture, name: string): Float32Array => Float32Array.from(input(fixture, name).data, Number);

function adamW(fixture: Fixture): void {
  const notes = part(fixture.notes, 'adamw');
  const rates = numbers(notes['lr_per_step'], 'adamw.lr_per_step');
  const [beta1 = 0.9, beta2 = 0.999] = numbers(notes['betas'], 'adamw.betas');
  const optimiser = new AdamW();
  for (const name of ['w', 'b']) {
    const start = fixture.inputs.get(`${name}0`);
    if (start === undefined) continue;
    const weightDecay = numberOf(notes, `weight_decay_${name}`);
    const parameter = { ...trainedParameter(name, start.shape, valuesOf(fixture, `${name}0`)), decays: weightDecay > 0 };
    rates.forEach((rate, i) => {
      optimiser.step(parameter, valuesOf(fixture, `grad_${name}.${i}`), rate, i + 1, { betas: [beta1, beta2], epsilon: numberOf(notes, 'eps'), weightDecay });
      check(fixture, `${name}.${i}`, float32(start.shape, parameter.values.slice()));
    });
    check(fixture, `${name}_exp_avg`, float32(start.shape, parameter.moments.first));
    check(fixture, `${name}_exp_avg_sq`, float32(start.shape, parameter.moments.second));
  }
}

function clipping(fixture: Fixture): void {
  const names = [...fixture.inputs.keys()].filter((name) => name.startsWith('clip_grad.')).sort();
  if (names.length === 0) return;
  const gradients = names.map((name) => valuesOf(fixture, name));
  const norm = clipGlobalNorm(gradients, numberOf(part(fixture.notes, 'clip'), 'max_norm'));
  check(fixture, 'clip_total_norm', float32([1], [norm]));
  gradients.forEach((gradient, i) => check(fixture, `clipped.${i}`, float32(input(fixture, names[i] ?? '').shape, gradient)));
}

function schedules(fixture: Fixture): void {
  const lavis = part(fixture.notes, 'lavis_linear_warmup_cosine');
  if (Array.isArray(lavis['values'])) {
    const given = parameters(lavis);
    const epochs = numberOf(part(lavis, 'params'), 'max_epoch');
    const values = lavis['values'].map((row) => numbers(row, 'lavis_linear_warmup_cosine.values'));
    compareRates(fixture, 'lavis_linear_warmup_cosine', values.flatMap((row, epoch) => row.map((_, step) => perEpoch({ ...given, epochs }, epoch, step))), values.flat());
  }
  const perStep = part(fixture.notes, 'per_step_cosine');
  if (Array.isArray(perStep['values'])) {
    const values = numbers(perStep['values'], 'per_step_cosine.values');
    // Our first step of the warm-up already has a rate: rates are those of one step later, and the cosine begins at the same step.
    const { warmupSteps, ...given } = parameters(perStep);
    const after = values.slice(warmupSteps);
    const rates = after.map((_, i) => learningRateAt({ type: 'linear_warmup_cosine', ...given, warmupSteps }, warmupSteps + i, values.length));
    compareRates(fixture, 'per_step_cosine', rates, after);
  }
}

function parameters(notes: JsonObject): { readonly peak: number; readonly minimum: number; readonly warmupStart: number; readonly warmupSteps: number } {
  const given = part(notes, 'params');
  if (!isJsonObject(notes['params'])) throw new QuerentError('QRT_CONFIG_INVALID', 'expected.json: a schedule has no params.', { fix: 'The fixture is not complete: make it again.' });
  return { peak: numberOf(given, 'init_lr'), minimum: numberOf(given, 'min_lr'), warmupStart: numberOf(given, 'warmup_start_lr'), warmupSteps: numberOf(given, 'warmup_steps') };
}

function compareRates(fixture: Fixture, name: string, actual: readonly number[], expected: readonly number[]): void {
  fixture.outputs.push(compareTensors(`schedule/${name}`, float32([actual.length], actual), float32([expected.length], expected)));
}
