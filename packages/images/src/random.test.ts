import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from './random.ts';

describe('createRandom', () => {
  it('gives the published xoshiro128** sequence from the state 1, 2, 3, 4', () => {
    const random = createRandom([1, 2, 3, 4]);
    expect(Array.from({ length: 3 }, () => random.next() * 2 ** 32)).toEqual([11520, 0, 5927040]);
  });

  it('goes on from a state that went through JSON', () => {
    fc.assert(fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.nat(50), (seed, skip) => {
      const random = createRandom(seed);
      for (let i = 0; i < skip; i++) random.normal();
      const again = createRandom(JSON.parse(JSON.stringify(random.state)));
      expect([again.next(), again.int(7), again.normal()]).toEqual([random.next(), random.int(7), random.normal()]);
    }));
  });

  it('draws integers below n, evenly, and normals with mean 0 and deviation 1', () => {
    const random = createRandom(3);
    const counts = Array.from({ length: 6 }, () => 0);
    for (let i = 0; i < 60_000; i++) counts[random.int(6)]!++;
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
    const normals = Array.from({ length: 50_000 }, () => random.normal());
    const mean = normals.reduce((a, b) => a + b) / normals.length;
    expect(Math.abs(mean)).toBeLessThan(0.02);
    expect(Math.abs(normals.reduce((a, b) => a + (b - mean) ** 2, 0) / normals.length - 1)).toBeLessThan(0.03);
  });

  it('shuffles in place without losing an element', () => {
    const array = Array.from({ length: 100 }, (_, i) => i);
    const shuffled = createRandom(1).shuffle(array);
    expect(shuffled).toBe(array);
    expect(shuffled).not.toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect([...shuffled].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });

  it('refuses seeds, states and bounds that make no sense', () => {
    for (const seed of [NaN, Infinity, [0, 0, 0, 0], [1, 2, 3], [1, 2, 3, 0.5], [1, 2, 3, 2 ** 32]]) {
      expect(() => createRandom(seed as number)).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
    }
    expect(() => createRandom(1).int(0)).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
  });
});
