import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { recallAtK } from './recall.ts';

describe('recallAtK', () => {
  it('counts an image when any of its captions is within k, and each caption by itself', () => {
    const values = [
      0.9, 0.1, 0.8, 0.2, // image 0: its captions 0 and 1 are first and last
      0.3, 0.2, 0.1, 0.25, // image 1: captions 2 and 3 are last and second
    ];
    const { i2t, t2i } = recallAtK({ values, imageOfText: [0, 0, 1, 1], images: 2 });
    expect(i2t).toEqual({ r1: 50, r5: 100, r10: 100 });
    expect(t2i).toEqual({ r1: 50, r5: 100, r10: 100 });
  });

  it('finds nothing when all scores are the same', () => {
    const { i2t, t2i } = recallAtK({ values: new Float32Array(400), imageOfText: Array.from({ length: 20 }, (_, i) => i), images: 20 });
    expect([i2t.r10, t2i.r10]).toEqual([0, 0]);
  });

  it('agrees with sorting', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 15 }), fc.integer({ min: 1, max: 4 }), fc.integer(), (images, each, seed) => {
        const texts = images * each;
        // All different: multiples of a number that has no factor in common with the prime.
        const values = Float64Array.from({ length: images * texts }, (_, index) => ((index + 1) * (1 + (Math.abs(seed) % 10006))) % 10007);
        const imageOfText = Array.from({ length: texts }, (_, text) => text % images);
        let found = 0;
        for (let image = 0; image < images; image += 1) {
          const order = Array.from({ length: texts }, (_, text) => text).sort((a, b) => (values[image * texts + b] ?? 0) - (values[image * texts + a] ?? 0));
          if (order.slice(0, 5).some((text) => imageOfText[text] === image)) found += 1;
        }
        expect(recallAtK({ values, imageOfText, images }).i2t.r5).toBeCloseTo((100 * found) / images, 10);
      }),
    );
  });

  it('refuses sizes that do not fit, images without a caption, and NaN', () => {
    expect(() => recallAtK({ values: [1], imageOfText: [0, 0], images: 1 })).toThrow(/need 2 similarities/);
    expect(() => recallAtK({ values: [1, 1], imageOfText: [0], images: 2 })).toThrow(/image 1 has no caption/);
    expect(() => recallAtK({ values: [1], imageOfText: [3], images: 1 })).toThrow(/belongs to image 3/);
    expect(() => recallAtK({ values: [Number.NaN], imageOfText: [0], images: 1 })).toThrow(/not a number/);
  });
});
