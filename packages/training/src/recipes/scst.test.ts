import { expect, it } from 'vitest';
import { leaveOneOut } from './scst.ts';

it('measures each caption against the others of its image', () => {
  expect([...leaveOneOut([1, 2, 6, 5, 5, 5], 3)]).toEqual([-3, -1.5, 4.5, 0, 0, 0]);
});

it('sums to nothing for each image, and is the reward itself when there is one caption', () => {
  const advantages = leaveOneOut([0.3, 0.9, 0.1, 0.4], 4);
  expect(advantages.reduce((a, b) => a + b, 0)).toBeCloseTo(0, 6);
  expect([...leaveOneOut([0.5, 0.25], 1)]).toEqual([0.5, 0.25]);
});
