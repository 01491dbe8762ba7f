/**
 * Resizing as Pillow does it, to the bit: the filters of `Image.resize` with antialiasing (the support grows with
 * the scale), coefficients in 22-bit fixed point, a horizontal and a vertical pass with an 8-bit picture between them. Pretrained encoders were fed by Pillow, so a caption starts to differ where a resizer does.
 * The tables are in `resample-coefficients.ts`, the passes over pixels in `resample-passes.ts`.
 */
import { setImmediate } from 'node:timers/promises';
import { QuerentError } from '@querent/core';
import { coefficients } from './resample-coefficients.ts';
import type { Filter } from './resample-coefficients.ts';
import { horizontalPass, verticalPass } from './resample-passes.ts';
import type { RawImage } from './raw-image.ts';

/** `[left, top, right, bottom]` in pixels of the source; fractions are allowed. */
export type Box = readonly [left: number, top: number, right: number, bottom: number];

export interface ResizeOptions {
  /** `bicubic` when not given. */
  readonly filter?: Filter;
  /** The part of the source to resize: the whole picture when not given. Pixels outside are not looked at beyond the filter's reach. */
  readonly box?: Box;
}

/** Longest side that is made, in pixels. */
export const MAX_SIDE = 65_535;
/** How long `resizeAsync` keeps the thread before it lets others run. */
const SLICE_MS = 2;

/**
 * Resizes RGB pixels to `width` × `height`: the bytes that `PIL.Image.resize((width, height), resample, box)` gives.
 * The source is not changed; it is returned itself when there is nothing to do. Takes the calling thread for well under a
 * millisecond for a 500 × 375 photograph to 224 × 224, for one to two per megapixel of larger ones.
 * @throws QuerentError QRT_USAGE when a size is not a positive integer or the box lies outside the picture.
 */
export function resize(image: RawImage, width: number, height: number, options: ResizeOptions = {}): RawImage {
  const steps = resizeSteps(image, width, height, options);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/**
 * As {@link resize}, but lets other work run every few milliseconds: for large pictures beside a server or a token stream.
 * @throws QuerentError QRT_USAGE as `resize`; the signal's reason on abort.
 */
export async function resizeAsync(
  image: RawImage,
  width: number,
  height: number,
  options: ResizeOptions & { readonly signal?: AbortSignal } = {},
): Promise<RawImage> {
  options.signal?.throwIfAborted();
  const steps = resizeSteps(image, width, height, options);
  let since = performance.now();
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    if (performance.now() - since < SLICE_MS) continue;
    await setImmediate();
    options.signal?.throwIfAborted();
    since = performance.now();
  }
}

function* resizeSteps(image: RawImage, width: number, height: number, options: ResizeOptions): Generator<undefined, RawImage, undefined> {
  const { filter = 'bicubic' } = options;
  assertSide('width', width);
  assertSide('height', height);
  const [left, top, right, bottom] = checkedBox(image, options.box);
  const isWide = width !== image.width || left !== 0 || right !== width;
  const isTall = height !== image.height || top !== 0 || bottom !== height;
  if (!isWide && !isTall) return image;
  if (filter === 'nearest') return nearest(image, width, height, [left, top, right, bottom]);

  const columns = isWide ? coefficients(image.width, left, right, width, filter) : undefined;
  const rows = isTall ? coefficients(image.height, top, bottom, height, filter) : undefined;
  if (!rows) return { width, height, data: yield* horizontalPass(image.data, image.width, 0, image.height, width, columns!) };
  if (!columns) return { width, height, data: yield* verticalPass(image.data, width, 0, height, rows) };
  if (isVerticalFirst(image, width, height)) {
    const middle = yield* verticalPass(image.data, image.width, 0, height, rows);
    return { width, height, data: yield* horizontalPass(middle, image.width, 0, height, width, columns) };
  }
  // Only the rows that the vertical pass will read.
  const firstRow = rows.starts[0]!;
  const endRow = rows.starts[height - 1]! + rows.counts[height - 1]!;
  const middle = yield* horizontalPass(image.data, image.width, firstRow, endRow, width, columns);
  return { width, height, data: yield* verticalPass(middle, width, firstRow, height, rows) };
}

/**
 * Does the vertical pass come first? Since version 13 Pillow does so where the height shrinks by more than twice the
 * pixels that the width loses; the 8-bit picture in between then differs. The whole picture counts, not the box.
 * The rule was found by comparing with Pillow 13.0.0.
 */
function isVerticalFirst(image: RawImage, width: number, height: number): boolean {
  const lost = image.height - height;
  return lost > 0 && lost > 2 * (image.width - width);
}

/** The pixels `[left, left + width) × [top, top + height)`; what lies outside the picture is black, as in Pillow's `crop`. */
export function crop(image: RawImage, left: number, top: number, width: number, height: number): RawImage {
  assertSide('width', width);
  assertSide('height', height);
  if (left === 0 && top === 0 && width === image.width && height === image.height) return image;
  const data = new Uint8Array(width * height * 3);
  const fromX = Math.max(0, left);
  const toX = Math.min(image.width, left + width);
  if (toX > fromX) {
    for (let y = Math.max(0, top); y < Math.min(image.height, top + height); y++) {
      const row = image.data.subarray((y * image.width + fromX) * 3, (y * image.width + toX) * 3);
      data.set(row, ((y - top) * width + (fromX - left)) * 3);
    }
  }
  return { width, height, data };
}

/** Nearest neighbour. Positions are summed up step by step, because Pillow does so and rounding follows from it. */
function nearest(image: RawImage, width: number, height: number, [left, top, right, bottom]: Box): RawImage {
  const columns = nearestPositions(image.width, left, right, width);
  const rows = nearestPositions(image.height, top, bottom, height);
  const data = new Uint8Array(width * height * 3);
  let to = 0;
  for (let y = 0; y < height; y++) {
    const line = rows[y]! * image.width;
    for (let x = 0; x < width; x++, to += 3) {
      const from = (line + columns[x]!) * 3;
      data[to] = image.data[from]!;
      data[to + 1] = image.data[from + 1]!;
      data[to + 2] = image.data[from + 2]!;
    }
  }
  return { width, height, data };
}

function nearestPositions(sourceSize: number, from: number, to: number, size: number): Int32Array {
  const step = Math.fround(to - from) / size;
  const positions = new Int32Array(size);
  let at = from + step * 0.5;
  for (let i = 0; i < size; i++, at += step) positions[i] = Math.min(sourceSize - 1, Math.trunc(at));
  return positions;
}

function assertSide(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1 || value > MAX_SIDE) {
    throw new QuerentError('QRT_USAGE', `${name} is ${value}; an integer from 1 to ${MAX_SIDE} was expected.`, {
      details: { [name]: value },
    });
  }
}

function checkedBox(image: RawImage, box: Box | undefined): Box {
  if (!box) return [0, 0, image.width, image.height];
  const [left, top, right, bottom] = box;
  // Written so that NaN is refused too.
  const isInside = left >= 0 && top >= 0 && right <= image.width && bottom <= image.height && right > left && bottom > top;
  if (!isInside) {
    throw new QuerentError('QRT_USAGE', `box [${box.join(', ')}] does not lie inside the picture, which is ${image.width} × ${image.height}.`, {
      fix: 'Give [left, top, right, bottom] in pixels, with left < right and top < bottom.',
      details: { box },
    });
  }
  return [Math.fround(left), Math.fround(top), Math.fround(right), Math.fround(bottom)];
}
