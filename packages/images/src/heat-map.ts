/**
 * Where a model looked, laid over the photograph: a darkened, grey photograph, with colour where the weights are. Several maps stand
 * beside each other in reading order. What an encoder never saw, because it was cropped away, stays grey.
 */
import sharp from 'sharp';
import { QuerentError } from '@querent/core';
import type { AttentionMap } from '@querent/core';
import { planProcessor } from './processor-config.ts';
import { resizeTarget } from './processor.ts';
import type { ImageProcessor } from './processor.ts';
import type { RawImage } from './raw-image.ts';
import { resizeAsync } from './resample.ts';

/** A part of a picture in shares of its size: 0 is its left or upper edge, 1 the right or lower one. */
export interface Region {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

export interface HeatMapOptions {
  /** What part of the picture the map is of. Default: all of it. */
  readonly seen?: Region;
  readonly signal?: AbortSignal;
}

/** Longest side of a panel in pixels: of one alone, and of one among several. */
const SIDE_ALONE = 640;
const SIDE_AMONG = 320;
/** Panels beside each other, and at most. */
const COLUMNS = 4;
const MAX_PANELS = 256;
const GAP = 4;
const WHOLE: Region = { left: 0, top: 0, width: 1, height: 1 };

/** From cold to hot, evenly spaced: black, violet, red, orange, pale yellow (the stops of matplotlib's `inferno`, rounded). */
const COLOURS: readonly (readonly [number, number, number])[] = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

/** What an encoder sees of a picture: the middle, where its processor crops. */
export function seenRegion(image: Pick<RawImage, 'width' | 'height'>, processor: ImageProcessor): Region {
  const plan = planProcessor(processor.config);
  if (!plan.crop) return WHOLE;
  const target = plan.resize ? resizeTarget(image, plan.resize.to) : image;
  const [width, height] = [plan.crop.width / target.width, plan.crop.height / target.height];
  return { left: (1 - width) / 2, top: (1 - height) / 2, width, height };
}

/**
 * @param maps each `rows * columns` weights of at least 0; brightest is the map's own largest one
 * @returns the bytes of a PNG
 * @throws QuerentError QRT_USAGE when there is no map, or too many, or one whose weights do not add up.
 */
export async function drawHeatMaps(image: RawImage, maps: readonly AttentionMap[], options: HeatMapOptions = {}): Promise<Uint8Array> {
  const { seen = WHOLE, signal } = options;
  const isSound = maps.every(({ rows, columns, weights }) => rows > 0 && columns > 0 && weights.length === rows * columns);
  if (maps.length === 0 || maps.length > MAX_PANELS || !isSound) {
    throw new QuerentError('QRT_USAGE', `${maps.length} maps${isSound ? '' : ', not all of rows × columns weights,'} cannot be drawn.`, { fix: `Give 1 to ${MAX_PANELS} maps.` });
  }
  const scale = (maps.length === 1 ? SIDE_ALONE : SIDE_AMONG) / Math.max(image.width, image.height);
  const side = (length: number): number => Math.max(1, Math.round(length * scale));
  const photo = await resizeAsync(image, side(image.width), side(image.height), { filter: 'bilinear', ...(signal === undefined ? {} : { signal }) });
  const columns = Math.min(COLUMNS, maps.length);
  const sheet = blank(columns * (photo.width + GAP) - GAP, Math.ceil(maps.length / columns) * (photo.height + GAP) - GAP);
  maps.forEach((map, i) => drawPanel(sheet, photo, map, seen, (i % columns) * (photo.width + GAP), Math.floor(i / columns) * (photo.height + GAP)));
  signal?.throwIfAborted();
  return encodePng(sheet);
}

/** A picture as the bytes of a PNG, without loss. */
export async function encodePng({ width, height, data }: RawImage): Promise<Uint8Array> {
  return sharp(data, { raw: { width, height, channels: 3 } }).png().toBuffer();
}

function blank(width: number, height: number): RawImage {
  return { width, height, data: new Uint8Array(width * height * 3).fill(255) };
}

function drawPanel(sheet: RawImage, photo: RawImage, map: AttentionMap, seen: Region, left: number, top: number): void {
  const most = map.weights.reduce((a, b) => Math.max(a, b), 0);
  for (let y = 0; y < photo.height; y++) {
    const row = ((y + 0.5) / photo.height - seen.top) / seen.height;
    for (let x = 0; x < photo.width; x++) {
      const column = ((x + 0.5) / photo.width - seen.left) / seen.width;
      const from = (y * photo.width + x) * 3;
      const to = ((top + y) * sheet.width + left + x) * 3;
      const grey = 0.3 * photo.data[from]! + 0.59 * photo.data[from + 1]! + 0.11 * photo.data[from + 2]!;
      const isSeen = row >= 0 && row < 1 && column >= 0 && column < 1;
      const heat = isSeen && most > 0 ? Math.max(0, at(map, row, column)) / most : 0;
      const colour = colourOf(heat);
      const cover = 0.75 * heat; // the photograph shows through everywhere
      for (let c = 0; c < 3; c++) sheet.data[to + c] = Math.round((1 - cover) * grey * (isSeen ? 0.8 : 0.5) + cover * colour[c]!);
    }
  }
}

/** The weight at a place in [0, 1) each way: bilinear between the middles of patches. */
function at({ rows, columns, weights }: AttentionMap, row: number, column: number): number {
  const [y, x] = [row * rows - 0.5, column * columns - 0.5];
  const [y0, x0] = [Math.floor(y), Math.floor(x)];
  const value = (r: number, c: number): number => weights[clamp(r, rows) * columns + clamp(c, columns)]!;
  const upper = value(y0, x0) * (1 - (x - x0)) + value(y0, x0 + 1) * (x - x0);
  const lower = value(y0 + 1, x0) * (1 - (x - x0)) + value(y0 + 1, x0 + 1) * (x - x0);
  return upper * (1 - (y - y0)) + lower * (y - y0);
}

function clamp(index: number, count: number): number {
  return Math.min(count - 1, Math.max(0, index));
}

function colourOf(heat: number): readonly [number, number, number] {
  const place = Math.min(1, Math.max(0, heat)) * (COLOURS.length - 1);
  const lower = Math.min(COLOURS.length - 2, Math.floor(place));
  const [a, b] = [COLOURS[lower]!, COLOURS[lower + 1]!];
  const mix = (c: 0 | 1 | 2): number => a[c] + (b[c] - a[c]) * (place - lower);
  return [mix(0), mix(1), mix(2)];
}
