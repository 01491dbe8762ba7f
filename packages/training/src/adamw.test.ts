/** The vector loop against plain arithmetic; against torch: optimisers.test.ts. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { assemble } from '../wasm/build.mjs';
import { ADAMW_DEFAULTS, AdamW } from './adamw.ts';
import { trainedParameter } from './optimisers.ts';

const length = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom(32_767, 32_768, 32_769, 65_538, 100_003));

it('is AdamW for any number of elements, also where strips and vectors end', () => {
  fc.assert(
    fc.property(length, fc.integer({ min: 1, max: 50 }), fc.float({ min: Math.fround(1e-5), max: Math.fround(0.1), noNaN: true }), fc.boolean(), fc.integer({ min: 0, max: 3 }), (count, step, rate, isMatrix, reached) => {
      const wave = (phase: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(i * 0.7 + phase));
      // Of both moments and the gradient, as many lie where the kernel reaches them; what lies behind must stay as it is.
      const optimiser = new AdamW([count, 4]);
      let left = reached;
      const allocate = (length: number): Float32Array => (left-- > 0 ? optimiser.allocate(length) : new Float32Array(length));
      const parameter = trainedParameter('w', isMatrix ? [1, count] : [count], wave(0), { allocate });
      parameter.moments.first.set(wave(1));
      parameter.moments.second.set(wave(2).map(Math.abs));
      const before = { values: parameter.values.slice(), first: parameter.moments.first.slice(), second: parameter.moments.second.slice() };
      const gradient = allocate(count);
      gradient.set(wave(3));
      const behind = optimiser.allocate(4).fill(7);
      optimiser.step(parameter, gradient, rate, step, ADAMW_DEFAULTS);
      const [beta1, beta2] = ADAMW_DEFAULTS.betas;
      for (let i = 0; i < count; i++) {
        const first = beta1 * before.first[i]! + (1 - beta1) * gradient[i]!;
        const second = beta2 * before.second[i]! + (1 - beta2) * gradient[i]! ** 2;
        const decayed = before.values[i]! * (isMatrix ? 1 - rate * ADAMW_DEFAULTS.weightDecay : 1);
        const wanted = decayed - (rate * (first / (1 - beta1 ** step))) / (Math.sqrt(second / (1 - beta2 ** step)) + ADAMW_DEFAULTS.epsilon);
        if (Math.abs(parameter.values[i]! - wanted) > 1e-5 * Math.max(1, Math.abs(wanted))) throw new Error(`element ${i} of ${count} is ${parameter.values[i]}, not ${wanted}`);
        if (Math.abs(parameter.moments.first[i]! - first) > 1e-6 || Math.abs(parameter.moments.second[i]! - second) > 1e-6) throw new Error(`moments of element ${i} of ${count}`);
      }
      expect([...behind]).toEqual([7, 7, 7, 7]);
    }),
    { numRuns: 60 },
  );
});

it('the WebAssembly in the package is what its source assembles to', async () => {
  expect(readFileSync(new URL('./adamw-kernel.ts', import.meta.url), 'utf8')).toBe(await assemble());
});
