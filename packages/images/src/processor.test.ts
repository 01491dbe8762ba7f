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
