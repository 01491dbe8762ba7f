import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { augment, colorJitter, flipHorizontally, randomResizedCropBox } from './augment.ts';
import { createRandom } from './random.ts';
import type { RawImage } from './raw-image.ts';

const waves = (width: number, height: number): RawImage => ({
  width,
  height,
  data: Uint8Array.from({ length: width * height * 3 }, (_, i) => 128 + 100 * Math.sin(i / 17)),
});

describe('randomResizedCropBox', () => {
  it('stays inside the picture and keeps area and proportion as asked', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 500 }), fc.integer(), (width, height, seed) => {
      const [left, top, right, bottom] = randomResizedCropBox(width, height, [0.3, 1], [0.75, 4 / 3], createRandom(seed));
      expect(left >= 0 && top >= 0 && right <= width && bottom <= height && right > left && bottom > top).toBe(true);
      expect([left, top, right, bottom].every(Number.isInteger)).toBe(true);
    }));
    const random = createRandom(1);
    for (let i = 0; i < 200; i++) {
      const [left, top, right, bottom] = randomResizedCropBox(400, 300, [0.3, 0.6], [0.75, 4 / 3], random);
      const area = ((right - left) * (bottom - top)) / 120_000;
      expect(area).toBeGreaterThan(0.29);
      expect(area).toBeLessThan(0.61);
    }
  });

  it('takes the largest centre crop when ten tries fail', () => {
    expect(randomResizedCropBox(100, 10, [1, 1], [1, 1], createRandom(1))).toEqual([45, 0, 55, 10]);
    expect(randomResizedCropBox(10, 100, [1, 1], [1, 1], createRandom(1))).toEqual([0, 45, 10, 55]);
  });
});

describe('augment', () => {
  const options = { width: 16, height: 12, jitter: { brightness: 0.4, contrast: 0.4, saturation: 0.4 } };

  it('gives the same view from the same state, another from the next', () => {
    const random = createRandom(5);
    const image = waves(60, 40);
    const { state } = random;
    const view = augment(image, options, random);
    expect([view.width, view.height, view.data.length]).toEqual([16, 12, 576]);
    expect(augment(image, options, createRandom(state))).toEqual(view);
    expect(augment(image, options, random)).not.toEqual(view);
  });

  it('leaves the source as it was', () => {
    const image = waves(30, 20);
    augment(image, options, createRandom(2));
    expect(image).toEqual(waves(30, 20));
  });

  it('refuses options out of range', () => {
    for (const wrong of [{ scale: [0, 1] }, { ratio: [2, 1] }, { flip: 2 }, { jitter: { brightness: -1 } }, { width: 0 }]) {
      expect(() => augment(waves(4, 4), { ...options, ...wrong } as never, createRandom(1))).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
    }
  });
});

describe('flipHorizontally', () => {
  it('is its own inverse and keeps channels together', () => {
    const image = waves(7, 3);
    expect(flipHorizontally(flipHorizontally(image))).toEqual(image);
    expect([...flipHorizontally({ width: 2, height: 1, data: Uint8Array.of(1, 2, 3, 4, 5, 6) }).data]).toEqual([4, 5, 6, 1, 2, 3]);
  });
});

describe('colorJitter', () => {
  it('returns the picture itself without strengths', () => {
    const image = waves(5, 5);
    expect(colorJitter(image, {}, createRandom(1))).toBe(image);
  });

  it('leaves grey grey, and does not wrap around at white', () => {
    const grey = { width: 4, height: 4, data: new Uint8Array(48).fill(240) };
    for (let seed = 0; seed < 50; seed++) {
      const { data } = colorJitter(grey, { brightness: 0.9, contrast: 0.5, saturation: 1 }, createRandom(seed));
      expect(new Set(data).size).toBe(1);
      expect(data[0]).toBeGreaterThan(20);
    }
  });
});
