/**
 * Verifies image preprocessing against Pillow: of the 8-bit pictures at least 99.9 % of the values within one level of 255 and
 * none off by more than three; normalised values like any tensor. JPEG decoders differ, so decoded pixels are taken where given.
 */
import { stat, readdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { PreprocessorConfig, TensorData } from '@querent/core';
import { QuerentError, float32 } from '@querent/core';
import { isJsonObject, readSafetensors, loadTensors } from '@querent/hub';
import { createImageProcessor, decodeImage } from '@querent/images';
import type { RawImage } from '@querent/images';
import { check, part, reportOf } from './fixture.ts';
import type { Fixture, Tensors } from './fixture.ts';
import type { Comparison, VerifyReport } from './report.ts';

const SHARE_WITHIN_ONE = 0.999;
const MOST_LEVELS = 3;

/** @param folder of the pictures, where it is known; else they are looked for here and beside here. */
export async function verifyPreprocessing(fixture: Fixture, folder?: string): Promise<VerifyReport> {
  const processors = part(fixture.notes, 'processors');
  const images = imageNames(fixture);
  const decoded = await decodedPixels(fixture);
  const source = folder ?? (await imageFolder(fixture, images));
  for (const [name, given] of Object.entries(processors)) {
    if (!isJsonObject(given)) continue;
    const processor = createImageProcessor(given as unknown as PreprocessorConfig); // createImageProcessor checks every value
    const size = /\d+$/.exec(name)?.[0] ?? name;
    for (const file of images) {
      const key = file.replace(/\.[^.]*$/, '');
      const pixels = decoded.get(`decoded/${key}`);
      const image = pixels === undefined ? await decodeImage(join(source, file)) : rawImage(pixels);
      const resized = processor.pixels(image);
      compareLevels(fixture, `${size}/${key}/uint8`, resized);
      const isOurJpeg = pixels === undefined && /\.jpe?g$/i.test(file);
      const normalised = processor.normalize(resized);
      compareNormalised(fixture, `${size}/${key}/normalized`, normalised, processor.height, processor.width, isOurJpeg);
      compareNormalised(fixture, `${size}/${key}/normalized_first_rows`, normalised, processor.height, processor.width, isOurJpeg);
    }
  }
  return reportOf(fixture, 'image preprocessing');
}

/** The pictures that a fixture of image processors is about. */
export function imageNames(fixture: Pick<Fixture, 'notes'>): readonly string[] {
  const { images } = fixture.notes;
  if (!Array.isArray(images) || !images.every((name): name is string => typeof name === 'string' && !/[\\/]|^\./.test(name))) {
    throw new QuerentError('QRT_CONFIG_INVALID', 'expected.json: images is no list of file names.', { fix: 'The fixture is not complete: make it again.' });
  }
  return images;
}

/** The folder that has the pictures: this one, or one beside it. */
async function imageFolder(fixture: Fixture, images: readonly string[]): Promise<string> {
  const parent = dirname(resolve(fixture.folder));
  const neighbours = await readdir(parent, { withFileTypes: true }).catch(() => []);
  for (const folder of [fixture.folder, ...neighbours.filter((entry) => entry.isDirectory()).map((entry) => join(parent, entry.name))]) {
    const found = await Promise.all(images.map((name) => stat(join(folder, name)).then(() => true, () => false)));
    if (found.every(Boolean)) return folder;
  }
  throw new QuerentError('QRT_FILE', `The pictures ${images.join(', ')} are neither in ${fixture.folder} nor in a folder beside it.`, { fix: 'Copy the folder with the source images too.', details: { folder: fixture.folder } });
}

/** `decoded/<name>` [height, width, 3] of this fixture, or of one beside it. */
async function decodedPixels(fixture: Fixture): Promise<Tensors> {
  const own = [...fixture.inputs].filter(([name]) => name.startsWith('decoded/'));
  if (own.length > 0) return new Map(own);
  const parent = dirname(resolve(fixture.folder));
  for (const entry of await readdir(parent, { withFileTypes: true }).catch(() => [])) {
    const file = join(parent, entry.name, 'inputs.safetensors');
    const isThere = entry.isDirectory() && (await stat(file).then(() => true, () => false));
    if (!isThere) continue;
    const { tensors } = await readSafetensors(file);
    const decoded = new Map([...tensors].filter(([name]) => name.startsWith('decoded/')));
    if (decoded.size > 0) return loadTensors(decoded);
  }
  return new Map();
}

function rawImage(pixels: TensorData): RawImage {
  const [height = 0, width = 0] = pixels.shape;
  return { width, height, data: Uint8Array.from(pixels.data, Number) };
}

/** uint8 [channels, height, width] against a picture with its channels last. */
function compareLevels(fixture: Fixture, name: string, image: RawImage): void {
  const expected = fixture.expected.get(name);
  if (expected === undefined) return;
  const plane = image.width * image.height;
  let largest = expected.data.length === plane * 3 ? 0 : Infinity;
  let beyondOne = 0;
  for (let i = 0; i < expected.data.length; i++) {
    const difference = Math.abs(Number(image.data[(i % plane) * 3 + Math.floor(i / plane)]) - Number(expected.data[i]));
    largest = Math.max(largest, difference);
    if (difference > 1) beyondOne++;
  }
  const share = beyondOne / expected.data.length;
  const comparison: Comparison = {
    name,
    absolute: largest,
    relative: largest / 255,
    tolerance: MOST_LEVELS / 255,
    isWithin: largest <= MOST_LEVELS && share <= 1 - SHARE_WITHIN_ONE,
    ...(beyondOne > 0 ? { note: `${(100 * share).toFixed(3)} % of the values are off by more than one level` } : {}),
  };
  fixture.outputs.push(comparison);
}

function compareNormalised(fixture: Fixture, name: string, values: Float32Array, height: number, width: number, isOurJpeg: boolean): void {
  const expected = fixture.expected.get(name);
  if (expected === undefined) return;
  const rows = expected.shape[1] ?? height;
  const part = new Float32Array(3 * rows * width);
  for (let c = 0; c < 3; c++) part.set(values.subarray(c * height * width, c * height * width + rows * width), c * rows * width);
  // Three levels, over the smallest standard deviation in use (0.25), where the JPEG was decoded here.
  check(fixture, name, float32([3, rows, width], part), isOurJpeg ? { tolerance: MOST_LEVELS / 255 / 0.25 } : {});
}
