import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assemble } from '../wasm/build.mjs';
import { PRECISION_BITS, coefficients } from './resample-coefficients.ts';
import { crop, resize, resizeAsync } from './resample.ts';
import { readFileSync } from 'node:fs';
import type { RawImage } from './raw-image.ts';
import type { Box } from './resample.ts';
import type { Filter } from './resample-coefficients.ts';

/** The same arithmetic one pixel at a time, as Pillow's C code reads: columns first unless the height shrinks far more. */
function plainResize(image: RawImage, width: number, height: number, filter: Exclude<Filter, 'nearest'>, box: Box): RawImage {
  const [left, top, right, bottom] = box.map(Math.fround) as [number, number, number, number];
  const pass = (source: RawImage, isRow: boolean): RawImage => {
    const [size, from, to, length] = isRow ? [width, left, right, source.width] : [height, top, bottom, source.height];
    if (size === length && from === 0 && to === size) return source;
    const { taps, starts, counts, weights } = coefficients(length, from, to, size, filter);
    const [w, h] = isRow ? [width, source.height] : [source.width, height];
    const data = new Uint8ClampedArray(w * h * 3);
    for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) for (let c = 0; c < 3; c++) {
      const i = isRow ? x : y;
      let sum = 1 << (PRECISION_BITS - 1);
      for (let t = 0; t < counts[i]!; t++) {
        const [sx, sy] = isRow ? [starts[i]! + t, y] : [x, starts[i]! + t];
        sum = (sum + Math.imul(source.data[(sy * source.width + sx) * 3 + c]!, weights[i * taps + t]!)) | 0;
      }
      data[(y * w + x) * 3 + c] = sum >> PRECISION_BITS;
    }
    return { width: w, height: h, data: new Uint8Array(data.buffer) };
  };
  const lost = image.height - height;
  const rowsFirst = lost > 0 && lost > 2 * (image.width - width);
  return pass(pass(image, !rowsFirst), rowsFirst);
}

const picture = (maxSide: number): fc.Arbitrary<RawImage> =>
  fc.tuple(fc.integer({ min: 1, max: maxSide }), fc.integer({ min: 1, max: maxSide }), fc.integer()).map(([width, height, seed]) => ({
    width,
    height,
    // Hard edges between 0 and 255 make the filters overshoot.
    data: Uint8Array.from({ length: width * height * 3 }, (_, i) => {
      const mixed = Math.imul(i + seed, 0x9e3779b1) >>> 24;
      return mixed & 1 ? mixed : mixed < 128 ? 0 : 255;
    }),
  }));
const filter = fc.constantFrom<Exclude<Filter, 'nearest'>>('box', 'bilinear', 'hamming', 'bicubic', 'lanczos');
const fraction = fc.double({ min: 0, max: 1, noNaN: true });

describe('resize', () => {
  it('equals Pillow 13.0.0 on random pictures, sizes, filters and boxes', () => {
    // Written by bench/peer_images.py --fixture.
    const { cases } = JSON.parse(readFileSync(new URL('../fixtures/pillow-resize.json', import.meta.url), 'utf8')) as {
      cases: { width: number; height: number; filter: Filter; box: Box | null; source: { width: number; height: number; data: string }; data: string }[];
    };
    expect(cases.length).toBeGreaterThan(20);
    for (const { width, height, filter: name, box, source, data } of cases) {
      const image = { ...source, data: Buffer.from(source.data, 'base64') };
      const resized = resize(image, width, height, { filter: name, ...(box ? { box } : {}) });
      expect(Buffer.from(resized.data).toString('base64'), `${name} ${source.width}×${source.height} → ${width}×${height}`).toBe(data);
    }
  });

  it('equals the plain integer arithmetic for any size, filter and box', () => {
    fc.assert(fc.property(picture(40), fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 50 }), filter, fraction, fraction, fraction, fraction,
      (image, width, height, name, x, y, dx, dy) => {
        const left = x * image.width * 0.9;
        const top = y * image.height * 0.9;
        const box: Box = [left, top, left + (image.width - left) * Math.max(dx, 0.05), top + (image.height - top) * Math.max(dy, 0.05)];
        expect(resize(image, width, height, { filter: name, box }).data).toEqual(plainResize(image, width, height, name, box).data);
      }), { numRuns: 300 });
  });

  it.each([[1400, 900, 61, 47], [3, 9000, 5, 400], [9000, 3, 400, 5], [700, 1200, 700, 31], [300, 200, 1500, 1300]])(
    'equals it over several strips: %i × %i to %i × %i', async (width, height, toWidth, toHeight) => {
      const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 24);
      const image = { width, height, data };
      const expected = plainResize(image, toWidth, toHeight, 'bicubic', [0, 0, width, height]).data;
      expect(Buffer.compare(resize(image, toWidth, toHeight).data, expected)).toBe(0);
      // Two at once share the kernel's memory.
      const both = await Promise.all([resizeAsync(image, toWidth, toHeight), resizeAsync(image, toWidth, toHeight)]);
      for (const { data: bytes } of both) expect(Buffer.compare(bytes, expected)).toBe(0);
    });

  it('keeps a picture of one colour at that colour', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 1, max: 90 }), fc.integer({ min: 1, max: 90 }), filter, (level, from, to, name) => {
      const flat = { width: from, height: 3, data: new Uint8Array(from * 9).fill(level) };
      expect(new Set(resize(flat, to, 2, { filter: name }).data)).toEqual(new Set([level]));
    }));
  });

  it('returns the picture itself when there is nothing to do', () => {
    const image = { width: 2, height: 1, data: new Uint8Array(6) };
    expect(resize(image, 2, 1)).toBe(image);
  });

  it('refuses sizes and boxes that make no sense', () => {
    const image = { width: 4, height: 4, data: new Uint8Array(48) };
    for (const [w, h] of [[0, 1], [1.5, 1], [NaN, 1], [1, 70_000]] as const) {
      expect(() => resize(image, w, h)).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
    }
    for (const box of [[0, 0, 5, 4], [-1, 0, 4, 4], [2, 0, 2, 4], [NaN, 0, 4, 4]] as const) {
      expect(() => resize(image, 2, 2, { box })).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
    }
  });

  it('stops an asynchronous resize with the reason of the signal', async () => {
    const image = { width: 3000, height: 3000, data: new Uint8Array(27_000_000) };
    const stop = new AbortController();
    const running = resizeAsync(image, 2900, 2900, { signal: stop.signal });
    stop.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
  });
});

describe('crop', () => {
  it('fills what lies outside with black', () => {
    const image = { width: 1, height: 1, data: Uint8Array.of(1, 2, 3) };
    expect([...crop(image, -1, 0, 3, 1).data]).toEqual([0, 0, 0, 1, 2, 3, 0, 0, 0]);
  });
});

it('the WebAssembly in the package is what its source assembles to', async () => {
  expect(readFileSync(new URL('./resample-kernel.ts', import.meta.url), 'utf8')).toBe(await assemble());
});
