/**
 * Bytes to RGB pixels. sharp (libvips) decodes, on its own threads; what surrounds it here is the policy: which formats,
 * how large, which way up. Alpha is dropped and not blended, and embedded colour profiles are not applied, because
 * Pillow's `convert('RGB')`, with which encoders were trained, does neither. Read `processor.ts` next.
 */
import sharp from 'sharp';
import { QuerentError, isQuerentError } from '@querent/core';
import type { ImageSource, RawPixels } from '@querent/core';
import { sniffFormat } from './formats.ts';
import { isRawPixels, nameSource, readSource } from './source.ts';
import type { RawImage } from './raw-image.ts';

export interface DecodeOptions {
  /** Refuse pictures with more pixels; 100 million when not given. Checked before anything is decoded. */
  readonly maxPixels?: number;
  /** Refuse sources with more bytes; 256 MiB when not given. */
  readonly maxBytes?: number;
  /** Give up reading a file, stream or URL after this time; 30 s when not given. */
  readonly timeoutMs?: number;
  /** Stops reading at once, decoding between its steps. */
  readonly signal?: AbortSignal;
}

const DEFAULT_MAX_PIXELS = 100_000_000;
const DEFAULT_MAX_BYTES = 256 * 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 30_000;

let isConfigured = false;

/** No cache, so that memory stays flat over many files; one thread a picture, because several are decoded at once. */
function configureSharp(): void {
  if (isConfigured) return;
  sharp.cache(false);
  sharp.concurrency(1);
  isConfigured = true;
}

/**
 * Decodes a JPEG, PNG, WebP, GIF, TIFF or AVIF picture: the right way up (EXIF), the first frame of an animation, as RGB.
 * Grey, palette, CMYK and 16-bit pictures are converted. A truncated or damaged file is refused, not filled up with grey.
 * Does not block the calling thread.
 * @throws QuerentError QRT_IMAGE when the source cannot be read or decoded, QRT_IMAGE_TOO_LARGE beyond a limit,
 *   QRT_USAGE for raw pixels that do not add up. An abort rejects with the signal's reason.
 * @example
 * const { width, height, data } = await decodeImage('photo.jpg');
 */
export async function decodeImage(source: ImageSource, options: DecodeOptions = {}): Promise<RawImage> {
  const { maxPixels = DEFAULT_MAX_PIXELS, maxBytes = DEFAULT_MAX_BYTES, timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
  signal?.throwIfAborted();
  for (const [option, value] of Object.entries({ maxPixels, maxBytes, timeoutMs })) {
    if (!(value > 0)) throw new QuerentError('QRT_USAGE', `\`${option}\` is ${value}; a number above 0 was expected.`);
  }
  const name = nameSource(source);
  if (isRawPixels(source)) return fromPixels(source, name, maxPixels);

  const bytes = await readSource(source, { maxBytes, timeoutMs, ...(signal ? { signal } : {}) });
  signal?.throwIfAborted();
  if (bytes.length === 0) throw undecodable(name, 'it is empty');
  const format = sniffFormat(bytes);
  if (!format.isSupported) throw undecodable(name, `it is ${format.name}`);
  configureSharp();
  try {
    return await decodeBytes(bytes, name, maxPixels, signal);
  } catch (error) {
    if (signal?.aborted || isQuerentError(error)) throw error;
    throw undecodable(name, `the ${format.name} data is damaged or incomplete (${oneLine(error)})`, error);
  }
}

async function decodeBytes(bytes: Uint8Array, name: string, maxPixels: number, signal: AbortSignal | undefined): Promise<RawImage> {
  const open = { failOn: 'error', sequentialRead: true, pages: 1 } as const;
  const limit = Number.isFinite(maxPixels) ? Math.max(1, Math.floor(maxPixels)) : false;
  try {
    // The limit is checked on the header, before pixels are decoded.
    const image = sharp(bytes, { ...open, limitInputPixels: limit, ignoreIcc: true, autoOrient: true });
    const { data, info } = await image.toColourspace('srgb').removeAlpha().raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    signal?.throwIfAborted();
    return fromPixels({ width: info.width, height: info.height, data }, name, maxPixels);
  } catch (error) {
    signal?.throwIfAborted();
    // Too large or damaged? The header of a damaged file may be unreadable: then the first error stands.
    const header = await sharp(bytes, { ...open, limitInputPixels: false }).metadata().catch(() => undefined);
    if (header && header.width * header.height > maxPixels) throw tooManyPixels(name, header.width, header.height, maxPixels);
    throw error;
  }
}

/** Pixels of 1, 3 or 4 channels as RGB; RGB is used as it is, without a copy. */
function fromPixels({ width, height, channels, data }: RawPixels, name: string, maxPixels: number): RawImage {
  const isSized = Number.isSafeInteger(width) && Number.isSafeInteger(height) && width > 0 && height > 0;
  const pixels = width * height;
  const isBytes = data instanceof Uint8Array || data instanceof Uint8ClampedArray;
  const count = channels ?? (isSized && isBytes ? data.length / pixels : 0);
  if (!isSized || !isBytes || (count !== 1 && count !== 3 && count !== 4) || data.length !== pixels * count) {
    throw new QuerentError('QRT_USAGE', `${name} do not add up: ${isBytes ? data.length : 'no'} bytes for ${channels ?? '1, 3 or 4'} channels.`, {
      fix: 'Give `width`, `height`, `channels` (1, 3 or 4) and a Uint8Array of width × height × channels bytes.',
      details: { width, height, channels, length: isBytes ? data.length : undefined },
    });
  }
  if (pixels > maxPixels) throw tooManyPixels(name, width, height, maxPixels);
  if (count === 3) return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
  const rgb = new Uint8Array(pixels * 3);
  const [green, blue] = count === 1 ? [0, 0] : [1, 2];
  for (let to = 0, from = 0; to < rgb.length; to += 3, from += count) {
    rgb[to] = data[from]!;
    rgb[to + 1] = data[from + green]!;
    rgb[to + 2] = data[from + blue]!;
  }
  return { width, height, data: rgb };
}

function oneLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/\s+/g, ' ').trim().slice(0, 200);
}

function undecodable(name: string, reason: string, cause?: unknown): QuerentError {
  return new QuerentError('QRT_IMAGE', `${name} cannot be decoded: ${reason}.`, {
    fix: 'Give a complete JPEG, PNG, WebP, GIF, TIFF or AVIF picture.',
    details: { source: name },
    ...(cause === undefined ? {} : { cause }),
  });
}

function tooManyPixels(name: string, width: number, height: number, maxPixels: number): QuerentError {
  return new QuerentError('QRT_IMAGE_TOO_LARGE', `${name} is ${width} × ${height} = ${width * height} pixels, the limit is ${maxPixels}.`, {
    fix: 'Make the picture smaller, or raise `maxPixels` if you trust it: decoding takes three bytes a pixel.',
    details: { source: name, width, height, maxPixels },
  });
}
