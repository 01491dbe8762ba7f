import { readFile } from 'node:fs/promises';
import type { TensorData } from '@querent/core';
import { loadTensors, readSafetensors } from '@querent/hub';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { ADAMW_DEFAULTS, AdamW } from './adamw.ts';
import { accumulate, clipGlobalNorm, doesDecay, globalNorm, trainedParameter } from './optimisers.ts';

const GOLDEN = new URL('../../../test/goldens/v1/optimiser/', import.meta.url);

interface Recorded {
  readonly adamw: { readonly lr_per_step: readonly number[]; readonly betas: readonly [number, number]; readonly eps: number; readonly weight_decay_w: number };
}

let recorded: Recorded;
let given: ReadonlyMap<string, TensorData>;
let expected: ReadonlyMap<string, TensorData>;

beforeAll(async () => {
  const tensors = async (name: string): Promise<ReadonlyMap<string, TensorData>> => loadTensors((await readSafetensors(new URL(name, GOLDEN).pathname)).tensors);
  recorded = JSON.parse(await readFile(new URL('expected.json', GOLDEN), 'utf8')) as Recorded; // our own fixture
  [given, expected] = [await tensors('inputs.safetensors'), await tensors('expected.safetensors')];
});

function values(from: ReadonlyMap<string, TensorData>, name: string): Float32Array {
  return Float32Array.from(from.get(name)!.data as Float32Array); // all tensors of the fixture are float32
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
}

describe('AdamW', () => {
  const optimiser = new AdamW();

  it('takes the five steps that torch takes, with and without decay', () => {
    const { lr_per_step: rates, betas, eps, weight_decay_w: weightDecay } = recorded.adamw;
    const options = { betas, epsilon: eps, weightDecay };
    const w = trainedParameter('w', given.get('w0')!.shape, values(given, 'w0'));
    const b = trainedParameter('b.bias', given.get('b0')!.shape, values(given, 'b0'));
    rates.forEach((rate, i) => {
      optimiser.step(w, values(given, `grad_w.${i}`), rate, i + 1, options);
      optimiser.step(b, values(given, `grad_b.${i}`), rate, i + 1, options);
      expect(largestDifference(w.values, values(expected, `w.${i}`))).toBeLessThan(1e-6);
      expect(largestDifference(b.values, values(expected, `b.${i}`))).toBeLessThan(1e-6);
    });
    expect(largestDifference(w.moments.first, values(expected, 'w_exp_avg'))).toBeLessThan(1e-6);
    expect(largestDifference(w.moments.second, values(expected, 'w_exp_avg_sq'))).toBeLessThan(1e-6);
  });

  it('moves a parameter whose rate is scaled as one that was given the scaled rate', () => {
    const scaled = trainedParameter('w', [2, 2], Float32Array.of(1, -2, 3, -4), { learningRateScale: 0.25 });
    const plain = trainedParameter('w', [2, 2], Float32Array.of(1, -2, 3, -4));
    for (let step = 1; step <= 3; step++) {
      optimiser.step(scaled, Float32Array.of(1, 2, -3, 4), 0.01, step, ADAMW_DEFAULTS);
      optimiser.step(plain, Float32Array.of(1, 2, -3, 4), 0.0025, step, ADAMW_DEFAULTS);
    }
    expect(scaled.values).toEqual(plain.values);
  });

  it('lets matrices and scalars decay, and neither norms nor biases', () => {
    expect(doesDecay('dense.weight', [4, 4])).toBe(true);
    expect(doesDecay('temp', [])).toBe(true);
    expect(doesDecay('LayerNorm.weight', [4])).toBe(false);
    expect(doesDecay('dense.bias', [4])).toBe(false);
    expect(doesDecay('odd.bias', [4, 4])).toBe(false);
  });
});

describe('clipping', () => {
  it('scales all gradients by one factor, as torch does', () => {
    const gradients = [values(given, 'clip_grad.0'), values(given, 'clip_grad.1')];
    const norm = clipGlobalNorm(gradients, 1);
    expect(norm).toBeCloseTo(Number(expected.get('clip_total_norm')!.data[0]), 5);
    expect(largestDifference(gradients[0]!, values(expected, 'clipped.0'))).toBeLessThan(1e-6);
    expect(largestDifference(gradients[1]!, values(expected, 'clipped.1'))).toBeLessThan(1e-6);
  });

  it('leaves short gradients as they are and shortens long ones to the limit', () => {
    const numbers = fc.array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(numbers, fc.double({ min: 0.01, max: 1000, noNaN: true }), (list, limit) => {
        const before = Float32Array.from(list);
        const after = before.slice();
        const norm = clipGlobalNorm([after], limit);
        if (norm < limit) expect(after).toEqual(before);
        else expect(globalNorm([after])).toBeLessThanOrEqual(limit * (1 + 1e-5));
      }),
    );
  });

  it('does nothing without a limit', () => {
    const gradient = Float32Array.of(3, 4);
    expect(clipGlobalNorm([gradient], Infinity)).toBe(5);
    expect(gradient).toEqual(Float32Array.of(3, 4));
  });
});

it('accumulates weighted gradients in place', () => {
  const sum = Float32Array.of(1, 2);
  accumulate(sum, Float32Array.of(4, -4), 0.5);
  expect(sum).toEqual(Float32Array.of(3, 0));
});
