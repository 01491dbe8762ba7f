import { describe, expect, it } from 'vitest';
import { decodeImage } from './decode.ts';
import { goldenFile, goldenJson, goldenTensors } from './golden.test-helper.ts';
import { createImageProcessor, resizeTarget } from './processor.ts';
import type { PreprocessorConfig } from './processor-config.ts';
import type { RawImage } from './raw-image.ts';

interface Expected {
  readonly images: readonly string[];
  readonly processors: Readonly<Record<string, PreprocessorConfig>>;
}

const decoded = goldenTensors('preprocess-blip/inputs.safetensors');

/** RGB pixels of a golden image: stored ones for the JPEG, because JPEG decoders may differ by a level. */
async function rgbOf(file: string): Promise<RawImage> {
  const stored = decoded.get(`decoded/${file.replace(/\.\w+$/, '')}`);
  if (!stored || !file.endsWith('.jpg')) return decodeImage(goldenFile(`preprocess-images/${file}`));
  const [height = 0, width = 0] = stored.shape;
  return decodeImage({ width, height, data: Uint8Array.from(stored.data) });
}

function planar({ width, height, data }: RawImage): Uint8Array {
  const plane = width * height;
  return Uint8Array.from({ length: plane * 3 }, (_, i) => data[(i % plane) * 3 + Math.floor(i / plane)]!);
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = a.length === b.length ? 0 : Infinity;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i]! - b[i]!));
  return largest;
}

for (const fixture of ['preprocess-blip', 'preprocess-clip']) {
  // The fixture's own description: trusted.
  const { images, processors } = goldenJson(`${fixture}/expected.json`) as Expected;
  const expected = goldenTensors(`${fixture}/expected.safetensors`);

  describe.each(Object.entries(processors))(`${fixture} %s`, (name, config) => {
    const processor = createImageProcessor(config);
    const side = name.replace(/\D/g, '');

    it.each(images)('gives the bytes and numbers of the reference for %s', async (file) => {
      const image = await rgbOf(file);
      const key = `${side}/${file.replace(/\.\w+$/, '')}`;
      const bytes = expected.get(`${key}/uint8`);
      if (bytes) expect(largestDifference(planar(processor.pixels(image)), bytes.data)).toBe(0);

      const values = processor.process(image);
      const whole = expected.get(`${key}/normalized`);
      if (whole) expect(largestDifference(values, whole.data)).toBeLessThanOrEqual(3e-7);
      const rows = expected.get(`${key}/normalized_first_rows`);
      if (rows) {
        const [, count = 0, width = 0] = rows.shape;
        const first = Array.from({ length: 3 }, (_, c) =>
          [...values.subarray(c * processor.height * width, (c * processor.height + count) * width)]).flat();
        expect(largestDifference(first, rows.data)).toBeLessThanOrEqual(3e-7);
      }
      expect(bytes ?? whole ?? rows).toBeDefined();
    });
  });
}

describe('createImageProcessor', () => {
  const config: PreprocessorConfig = { size: { height: 4, width: 6 }, image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] };
  const flat = (width: number, height: number, level: number): RawImage => ({ width, height, data: new Uint8Array(width * height * 3).fill(level) });

  it('batches into memory that is given', () => {
    const processor = createImageProcessor(config);
    const into = new Float32Array(200).fill(7);
    const { shape, data } = processor.batch([flat(9, 9, 255), flat(3, 5, 0)], into);
    expect(shape).toEqual([2, 3, 4, 6]);
    expect(data.buffer).toBe(into.buffer);
    expect([data[0], data[71], data[72], data[143], into[144]]).toEqual([1, 1, -1, -1, 7]);
    expect(() => processor.batch([flat(1, 1, 0)], new Float32Array(71))).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
    expect(() => processor.normalize(flat(4, 4, 0))).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
  });

  it('gives the same numbers when it lets others run in between', async () => {
    const image: RawImage = { width: 2500, height: 1500, data: Uint8Array.from({ length: 2500 * 1500 * 3 }, (_, i) => i >> 5) };
    for (const given of [config, { ...config, size: { shortest_edge: 20 }, do_center_crop: true, crop_size: 18 }]) {
      const processor = createImageProcessor(given);
      expect(await processor.processAsync(image)).toEqual(processor.process(image));
    }
    await expect(createImageProcessor(config).processAsync(image, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
  });

  it('reads a plain number as both sides, or as the shortest edge for CLIP', () => {
    const { image_mean, image_std } = config;
    const vit = createImageProcessor({ image_processor_type: 'ViTImageProcessor', size: 8, image_mean: 0.5, image_std: 0.5 });
    expect([vit.width, vit.height]).toEqual([8, 8]);
    const clip = createImageProcessor({ feature_extractor_type: 'CLIPFeatureExtractor', size: 8, crop_size: 6, image_mean: image_mean!, image_std: image_std! });
    expect([clip.width, clip.height]).toEqual([6, 6]);
    expect(clip.process(flat(20, 10, 128)).length).toBe(108);
  });

  it('cuts the other edge to an integer', () => {
    expect(resizeTarget({ width: 214, height: 301 }, { shortestEdge: 224 })).toEqual({ width: 224, height: 315 });
    expect(resizeTarget({ width: 131, height: 77 }, { shortestEdge: 64 })).toEqual({ width: 108, height: 64 });
  });

  it('rescales, offsets and divides as EfficientNet does', () => {
    const values = createImageProcessor({ ...config, image_processor_type: 'EfficientNetImageProcessor', rescale_factor: 1 / 127.5, rescale_offset: true, include_top: true,
      image_mean: [0, 0, 0], image_std: [0.5, 0.5, 0.5] }).process(flat(6, 4, 255));
    expect(values[0]).toBe(4);
    expect(createImageProcessor({ ...config, do_rescale: false, do_normalize: false }).process(flat(6, 4, 9))[0]).toBe(9);
  });

  it('refuses pictures too narrow to resize', () => {
    const processor = createImageProcessor({ ...config, size: { shortest_edge: 224 }, do_center_crop: true, crop_size: 224 });
    expect(() => processor.process(flat(1000, 1, 0))).toThrow(expect.objectContaining({ code: 'QRT_IMAGE' }));
  });

  it('names the key of a value that it cannot use', () => {
    const wrong: [object, string][] = [
      [{ size: undefined }, '/size'], [{ size: 0 }, '/size'], [{ size: { height: 4 } }, '/size'], [{ size: { height: 4, width: 1e9 } }, '/size/width'],
      [{ size: { shortest_edge: 4 } }, '/do_center_crop'], [{ do_resize: false }, '/do_resize'], [{ do_center_crop: true }, '/crop_size'],
      [{ resample: 9 }, '/resample'], [{ image_mean: [1, 2] }, '/image_mean'], [{ image_std: undefined }, '/image_std'], [{ image_std: [1, 0, 1] }, '/image_std'],
      [{ rescale_factor: Infinity }, '/rescale_factor'],
    ];
    for (const [change, pointer] of wrong) {
      expect(() => createImageProcessor({ ...config, ...change } as PreprocessorConfig), pointer)
        .toThrow(expect.objectContaining({ code: 'QRT_CONFIG_INVALID', details: expect.objectContaining({ pointer }) }));
    }
  });
});
