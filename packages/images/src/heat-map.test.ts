import { describe, expect, test } from 'vitest';
import { decodeImage } from './decode.ts';
import { drawHeatMaps, encodePng, seenRegion } from './heat-map.ts';
import { createImageProcessor } from './processor.ts';
import type { PreprocessorConfig } from './processor-config.ts';
import type { RawImage } from './raw-image.ts';

const photo: RawImage = { width: 80, height: 40, data: new Uint8Array(80 * 40 * 3).fill(100) };
/** Everything in the upper right patch of four. */
const upperRight = { rows: 2, columns: 2, weights: Float32Array.from([0, 1, 0, 0]) };

async function pixelOf(png: Uint8Array, across: number, down: number): Promise<number[]> {
  const { width, height, data } = await decodeImage(png);
  const start = (Math.floor(down * height) * width + Math.floor(across * width)) * 3;
  return Array.from(data.subarray(start, start + 3));
}

test('colour is where the weight is, grey where none is', async () => {
  const png = await drawHeatMaps(photo, [upperRight]);
  expect(await decodeImage(png)).toMatchObject({ width: 640, height: 320 });
  const [hot, cold] = [await pixelOf(png, 0.9, 0.1), await pixelOf(png, 0.1, 0.9)];
  expect(hot[0]! - hot[2]!).toBeGreaterThan(50); // yellow
  expect(new Set(cold).size).toBe(1);
});

test('several maps stand beside each other, in reading order', async () => {
  const none = { rows: 1, columns: 1, weights: Float32Array.from([0]) };
  const png = await drawHeatMaps(photo, [none, none, none, none, upperRight]);
  expect(await decodeImage(png)).toMatchObject({ width: 4 * 324 - 4, height: 2 * 164 - 4 });
  const at = await pixelOf(png, 300 / 1292, 180 / 324); // the fifth panel: second row, first column
  expect(at[0]! - at[2]!).toBeGreaterThan(50);
});

test('what the encoder did not see stays grey', async () => {
  const png = await drawHeatMaps(photo, [{ rows: 1, columns: 1, weights: Float32Array.from([1]) }], { seen: { left: 0.25, top: 0, width: 0.5, height: 1 } });
  expect(new Set(await pixelOf(png, 0.2, 0.5)).size).toBe(1);
  expect(new Set(await pixelOf(png, 0.3, 0.5)).size).toBeGreaterThan(1);
});

describe('the seen region', () => {
  const config: PreprocessorConfig = {
    do_resize: true, size: { shortest_edge: 20 }, resample: 3, do_center_crop: true, crop_size: { width: 20, height: 20 }, do_rescale: true, rescale_factor: 1 / 255,
    do_normalize: false, image_mean: [0, 0, 0], image_std: [1, 1, 1], do_convert_rgb: true,
  };
  test('is the middle of a picture that is cropped', () => {
    expect(seenRegion(photo, createImageProcessor(config))).toEqual({ left: 0.25, top: 0, width: 0.5, height: 1 });
  });
  test('is all of a picture that is squeezed', () => {
    expect(seenRegion(photo, createImageProcessor({ ...config, size: { width: 20, height: 20 }, do_center_crop: false }))).toEqual({ left: 0, top: 0, width: 1, height: 1 });
  });
});

test('no map, too many, and weights that do not add up are refused', async () => {
  for (const maps of [[], Array.from({ length: 257 }, () => upperRight), [{ rows: 2, columns: 3, weights: new Float32Array(4) }]]) {
    await expect(drawHeatMaps(photo, maps)).rejects.toMatchObject({ code: 'QRT_USAGE' });
  }
});

test('a PNG holds the pixels as they were', async () => {
  const image: RawImage = { width: 2, height: 1, data: Uint8Array.from([1, 2, 3, 250, 0, 9]) };
  expect(Array.from((await decodeImage(await encodePng(image))).data)).toEqual(Array.from(image.data));
});
