import fc from 'fast-check';
import { expect, test } from 'vitest';
import { quantiseColumns } from './quantise-columns.ts';

test('every weight is within half a step of its own column’s scale, whichever way the matrix lies', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 70 }), fc.integer(), (rows, columns, seed) => {
      const values = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(seed + i * 12.9898) * (1 + (i % rows)));
      const { data, scales } = quantiseColumns(values, rows, columns);
      const turned = new Float32Array(values.length);
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < columns; c++) {
          turned[c * rows + r] = values[r * columns + c]!;
          expect(Math.abs(data[c * rows + r]! * scales[r]! - values[r * columns + c]!)).toBeLessThanOrEqual(scales[r]! * 0.5001);
        }
      }
      expect(quantiseColumns(turned, rows, columns, { isTransposed: true })).toEqual({ data, scales });
    }),
    { numRuns: 50 },
  );
});

test('zeros stay zeros, and what is no number does no harm', () => {
  const { data, scales } = quantiseColumns(Float32Array.of(0, 0, NaN, 2, Infinity, -1), 3, 2);
  expect([...scales].map((scale) => Math.round(scale * 127))).toEqual([0, 2, 1]);
  expect([...data]).toEqual([0, 0, 127, 0, 127, -127]);
  expect([...quantiseColumns(Float32Array.of(-1, 0.5, Infinity), 1, 3, { largest: 63 }).data]).toEqual([-63, 32, 63]);
});
