/**
 * Seeded augmentation of RGB pictures for training: random resized crop (Szegedy 2015, as torchvision draws it), horizontal
 * flip, and brightness, contrast and saturation jitter (torchvision's `ColorJitter` without hue, in Pillow's arithmetic).
 * Give the result to `ImageProcessor.normalize`.
 */
import { QuerentError } from '@querent/core';
import { resize } from './resample.ts';
import type { Random } from './random.ts';
import type { RawImage } from './raw-image.ts';
import type { Box } from './resample.ts';
import type { Filter } from './resample-coefficients.ts';

/** Each factor is drawn from [1 - value, 1 + value], not below 0; 0 or nothing leaves that property as it is. */
export interface ColorJitter {
  readonly brightness?: number;
  readonly contrast?: number;
  /** Between grey (0) and more colour (above 1). */
  readonly saturation?: number;
}

export interface AugmentOptions {
  /** Size of the result in pixels. */
  readonly width: number;
  readonly height: number;
  /** Least and greatest part of the area that is kept; [0.5, 1] when not given. */
  readonly scale?: readonly [number, number];
  /** Least and greatest width / height of the crop; [3/4, 4/3] when not given. */
  readonly ratio?: readonly [number, number];
  /** Chance that left and right are swapped; 0.5 when not given. */
  readonly flip?: number;
  readonly jitter?: ColorJitter;
  /** `bicubic` when not given. */
  readonly filter?: Filter;
}

const TRIES = 10;

/**
 * One random view of `image`, `width` × `height`. The draws depend on `random` alone: same state, same view.
 * @throws QuerentError QRT_USAGE when an option is out of range.
 */
export function augment(image: RawImage, options: AugmentOptions, random: Random): RawImage {
  const { width, height, scale = [0.5, 1], ratio = [3 / 4, 4 / 3], flip = 0.5, jitter = {}, filter = 'bicubic' } = options;
  if (!(flip >= 0 && flip <= 1)) throw usage('flip', flip, 'a chance from 0 to 1');
  const box = randomResizedCropBox(image.width, image.height, scale, ratio, random);
  const view = resize(image, width, height, { filter, box });
  const turned = random.next() < flip ? flipHorizontally(view) : view;
  return colorJitter(turned, jitter, random);
}

/**
 * Where torchvision's `RandomResizedCrop` would cut: ten tries at a random area and proportion, then the largest centre
 * crop within `ratio`. Whole pixels.
 * @throws QuerentError QRT_USAGE when `scale` or `ratio` is not two positive numbers in order.
 */
export function randomResizedCropBox(
  width: number,
  height: number,
  scale: readonly [number, number],
  ratio: readonly [number, number],
  random: Random,
): Box {
  assertRange('scale', scale);
  assertRange('ratio', ratio);
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const area = width * height * between(scale, random);
    const proportion = Math.exp(between([Math.log(ratio[0]), Math.log(ratio[1])], random));
    const w = Math.round(Math.sqrt(area * proportion));
    const h = Math.round(Math.sqrt(area / proportion));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const top = random.int(height - h + 1);
    const left = random.int(width - w + 1);
    return [left, top, left + w, top + h];
  }
  const whole = width / height;
  const w = whole > ratio[1] ? Math.max(1, Math.min(width, Math.round(height * ratio[1]))) : width;
  const h = whole < ratio[0] ? Math.max(1, Math.min(height, Math.round(width / ratio[0]))) : height;
  const left = Math.floor((width - w) / 2);
  const top = Math.floor((height - h) / 2);
  return [left, top, left + w, top + h];
}

/** The mirror image. */
export function flipHorizontally({ width, height, data }: RawImage): RawImage {
  const out = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    let from = (y + 1) * width * 3 - 3;
    for (let to = y * width * 3; to < (y + 1) * width * 3; to += 3, from -= 3) {
      out[to] = data[from]!;
      out[to + 1] = data[from + 1]!;
      out[to + 2] = data[from + 2]!;
    }
  }
  return { width, height, data: out };
}

/**
 * Brightness, contrast and saturation by random factors, in a random order. The picture itself when there is nothing to do.
 * @throws QuerentError QRT_USAGE when a strength is negative.
 */
export function colorJitter(image: RawImage, jitter: ColorJitter, random: Random): RawImage {
  const steps = random.shuffle(['brightness', 'contrast', 'saturation'] as ('brightness' | 'contrast' | 'saturation')[]);
  let current = image;
  for (const property of steps) {
    const strength = jitter[property] ?? 0;
    if (!(strength >= 0 && Number.isFinite(strength))) throw usage(property, strength, 'a number from 0');
    if (strength === 0) continue;
    const factor = between([Math.max(0, 1 - strength), 1 + strength], random);
    const data = new Uint8ClampedArray(current.data.length);
    if (property === 'saturation') blendWithGrey(current.data, factor, data);
    else blendWithLevel(current.data, property === 'contrast' ? meanGrey(current.data) : 0, factor, data);
    current = { width: image.width, height: image.height, data: new Uint8Array(data.buffer) };
  }
  return current;
}

/** `level + (pixel - level) * factor`, by a table of the 256 levels. Pillow cuts fractions off. */
function blendWithLevel(data: Uint8Array, level: number, factor: number, out: Uint8ClampedArray): void {
  const table = Uint8ClampedArray.from({ length: 256 }, (_, value) => Math.trunc(level + (value - level) * factor));
  for (let i = 0; i < data.length; i++) out[i] = table[data[i]!]!;
}

function blendWithGrey(data: Uint8Array, factor: number, out: Uint8ClampedArray): void {
  for (let i = 0; i < data.length; i += 3) {
    const grey = greyOf(data, i);
    for (let c = i; c < i + 3; c++) out[c] = Math.trunc(grey + (data[c]! - grey) * factor);
  }
}

/** ITU-R 601-2 luma in 16-bit fixed point, as Pillow's `convert('L')`. */
function greyOf(data: Uint8Array, i: number): number {
  return (data[i]! * 19595 + data[i + 1]! * 38470 + data[i + 2]! * 7471 + 0x8000) >> 16;
}

function meanGrey(data: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 3) sum += greyOf(data, i);
  return Math.trunc(sum / (data.length / 3) + 0.5);
}

function between([least, greatest]: readonly [number, number], random: Random): number {
  return least + (greatest - least) * random.next();
}

function assertRange(name: string, range: readonly [number, number]): void {
  const [least, greatest] = range;
  if (!(least > 0 && greatest >= least && Number.isFinite(greatest))) throw usage(name, range, 'two positive numbers, the lesser first');
}

function usage(name: string, value: unknown, expected: string): QuerentError {
  return new QuerentError('QRT_USAGE', `\`${name}\` is ${JSON.stringify(value) ?? 'missing'}; ${expected} was expected.`, { details: { [name]: value } });
}
