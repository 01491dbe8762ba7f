import { once } from 'node:events';
import { createServer } from 'node:http';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createReadStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { deflateSync, crc32 } from 'node:zlib';
import { withRetries } from '@querent/core';
import fc from 'fast-check';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeImage } from './decode.ts';
import { goldenFile, goldenTensors } from './golden.test-helper.ts';
import type { AddressInfo } from 'node:net';
import type { ImageSource } from './source.ts';

const png = goldenFile('preprocess-images/rgba.png');
const jpeg = goldenFile('preprocess-images/exif6.jpg');
const solid = (channels: 3 | 4, background: object, width = 8, height = 6): sharp.Sharp =>
  sharp({ create: { width, height, channels, background: background as never } });

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-images-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function file(name: string, bytes: Uint8Array | string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, bytes);
  return path;
}

describe('decodeImage', () => {
  it.each(['rgba', 'palette', 'exif6'])('gives the reference pixels of %s', async (name) => {
    const { shape, data } = goldenTensors('preprocess-blip/inputs.safetensors').get(`decoded/${name}`)!;
    const image = await decodeImage(goldenFile(`preprocess-images/${name}.${name === 'exif6' ? 'jpg' : 'png'}`));
    expect([image.height, image.width, 3]).toEqual(shape);
    // PNG is exact; JPEG decoders may round differently.
    let largest = 0;
    for (let i = 0; i < data.length; i++) largest = Math.max(largest, Math.abs(image.data[i]! - data[i]!));
    expect(largest).toBeLessThanOrEqual(name === 'exif6' ? 3 : 0);
  });

  it('reads a path, URLs, bytes, a Blob and streams to the same pixels', async () => {
    const path = await file('a b#.png', png);
    const server = createServer((_, response) => response.end(png)).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    const arrayBuffer = Uint8Array.from(png).buffer;
    const sources: ImageSource[] = [
      path, pathToFileURL(path), pathToFileURL(path).href, png, new Uint8Array(arrayBuffer), arrayBuffer, new Blob([png]),
      new Blob([png]).stream(), createReadStream(path, { highWaterMark: 100 }),
      `data:image/png;base64,${Buffer.from(png).toString('base64')}`, `http://127.0.0.1:${port}/x.png`, new URL(`http://127.0.0.1:${port}/x.png`),
    ];
    const expected = await decodeImage(png);
    for (const source of sources) expect(await decodeImage(source)).toEqual(expected);
    server.close();
  });

  it('converts grey, alpha, CMYK and 16-bit pictures to RGB, dropping alpha without blending', async () => {
    const transparent = await solid(4, { r: 200, g: 100, b: 50, alpha: 0 }).png().toBuffer();
    expect([...(await decodeImage(transparent)).data.subarray(0, 3)]).toEqual([200, 100, 50]);
    const grey = await solid(3, { r: 70, g: 70, b: 70 }).greyscale().png().toBuffer();
    expect([...(await decodeImage(grey)).data.subarray(0, 3)]).toEqual([70, 70, 70]);
    const deep = await solid(3, { r: 255, g: 0, b: 128 }).toColourspace('rgb16').png().toBuffer();
    expect([...(await decodeImage(deep)).data.subarray(0, 3)]).toEqual([255, 0, 128]);
    const cmyk = await solid(3, { r: 255, g: 255, b: 255 }).toColourspace('cmyk').jpeg().toBuffer();
    const { data } = await decodeImage(cmyk);
    expect(data.length).toBe(8 * 6 * 3);
    expect(Math.min(...data)).toBeGreaterThan(245);
  });

  it('takes the first frame of an animation', async () => {
    const frames = Buffer.concat([Buffer.alloc(4 * 4 * 3, 250), Buffer.alloc(4 * 4 * 3, 5)]);
    const gif = await sharp(frames, { raw: { width: 4, height: 8, channels: 3, pageHeight: 4 } }).gif({ delay: [10, 10] }).toBuffer();
    const image = await decodeImage(gif);
    expect([image.width, image.height]).toEqual([4, 4]);
    expect(image.data[0]).toBeGreaterThan(200);
  });

  it.each(['webp', 'avif', 'tiff', 'jpeg', 'gif'] as const)('reads %s', async (format) => {
    const bytes = await solid(3, { r: 10, g: 200, b: 30 }, 32, 16).toFormat(format).toBuffer();
    const { width, height, data } = await decodeImage(bytes);
    expect([width, height]).toEqual([32, 16]);
    expect(Math.abs(data[1]! - 200)).toBeLessThan(8);
  });

  it('takes raw pixels of 1, 3 and 4 channels', async () => {
    const of = async (channels: 1 | 3 | 4 | undefined, ...data: number[]): Promise<number[]> =>
      [...(await decodeImage({ width: 1, height: 1, ...(channels ? { channels } : {}), data: Uint8Array.from(data) })).data];
    expect(await of(1, 9)).toEqual([9, 9, 9]);
    expect(await of(3, 1, 2, 3)).toEqual([1, 2, 3]);
    expect(await of(4, 1, 2, 3, 0)).toEqual([1, 2, 3]);
    expect(await of(undefined, 1, 2, 3, 0)).toEqual([1, 2, 3]);
  });
});

describe('decodeImage refuses', () => {
  it('what is no picture, naming the source and what it is', async () => {
    const wrong: [string, Uint8Array | string, RegExp][] = [
      ['empty.jpg', '', /empty\.jpg.*is empty/],
      ['note.jpg', 'just some words', /note\.jpg.*text file/],
      ['page.jpg', '<!DOCTYPE html><html></html>', /page\.jpg.*HTML/],
      ['drawing.png', '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', /drawing\.png.*SVG/],
      ['paper.jpg', '%PDF-1.7', /PDF/],
      ['old.bmp', 'BM\0\0\0\0', /BMP/],
      ['noise.jpg', Uint8Array.from({ length: 500 }, (_, i) => (i * 37) & 31), /no known picture format/],
    ];
    for (const [name, bytes, message] of wrong) {
      await expect(decodeImage(await file(name, bytes)), name).rejects.toMatchObject({ code: 'QRT_IMAGE', message: expect.stringMatching(message) });
    }
    await expect(decodeImage(folder)).rejects.toMatchObject({ code: 'QRT_IMAGE', message: expect.stringContaining('folder') });
    await expect(decodeImage(join(folder, 'none.jpg'))).rejects.toMatchObject({ code: 'QRT_IMAGE', message: expect.stringContaining('none.jpg') });
    await expect(decodeImage('')).rejects.toMatchObject({ code: 'QRT_IMAGE' });
    await expect(decodeImage('ftp:/x' + '\0')).rejects.toMatchObject({ code: 'QRT_IMAGE' });
    await expect(decodeImage('data:image/png;base64')).rejects.toMatchObject({ code: 'QRT_IMAGE' });
    await expect(decodeImage(null as never)).rejects.toMatchObject({ code: 'QRT_USAGE' });
    await expect(decodeImage(7 as never)).rejects.toMatchObject({ code: 'QRT_USAGE' });
  });

  it('truncated pictures of every format, at any length', async () => {
    const noise = sharp(Buffer.from(Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7919) >> 3 & 255)), { raw: { width: 64, height: 64, channels: 3 } });
    const whole = [jpeg, png, ...(await Promise.all((['jpeg', 'webp', 'avif', 'tiff', 'gif', 'png'] as const).map((f) => noise.clone().toFormat(f).toBuffer())))];
    for (const bytes of whole) {
      for (const part of [0.02, 0.3, 0.6, 0.9]) {
        await expect(decodeImage(bytes.subarray(0, Math.floor(bytes.length * part))), `${part} of ${bytes.length}`).rejects.toMatchObject({ code: 'QRT_IMAGE' });
      }
    }
  });

  it('too many pixels before decoding them, and too many bytes before reading them', async () => {
    await expect(decodeImage(png, { maxPixels: 100 })).rejects.toMatchObject({ code: 'QRT_IMAGE_TOO_LARGE', details: { width: 70, height: 95 } });
    await expect(decodeImage(await file('big.png', png), { maxBytes: 100 })).rejects.toMatchObject({ code: 'QRT_IMAGE_TOO_LARGE' });
    for (const source of [png, new Blob([png]), new Blob([png]).stream(), `data:,${'x'.repeat(200)}`]) {
      await expect(decodeImage(source, { maxBytes: 100 })).rejects.toMatchObject({ code: 'QRT_IMAGE_TOO_LARGE' });
    }
    // A header that promises 50 000 x 50 000 pixels in a few bytes.
    const chunk = (type: string, data: Uint8Array): Buffer => {
      const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
      const out = Buffer.alloc(body.length + 8);
      out.writeUInt32BE(data.length, 0);
      body.copy(out, 4);
      out.writeUInt32BE(crc32(body), out.length - 4);
      return out;
    };
    const size = Buffer.alloc(13);
    size.writeUInt32BE(50_000, 0);
    size.writeUInt32BE(50_000, 4);
    size.set([8, 2], 8);
    const bomb = Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', size), chunk('IDAT', deflateSync(Buffer.alloc(1000))), chunk('IEND', Buffer.alloc(0))]);
    await expect(decodeImage(bomb)).rejects.toMatchObject({ code: 'QRT_IMAGE_TOO_LARGE' });
  });

  it('an endless stream and one that never answers', async () => {
    const endless = (async function* () {
      for (;;) yield new Uint8Array(1 << 16);
    })();
    await expect(decodeImage(endless, { maxBytes: 1 << 20 })).rejects.toMatchObject({ code: 'QRT_IMAGE_TOO_LARGE' });
    await expect(decodeImage(new ReadableStream(), { timeoutMs: 20 })).rejects.toMatchObject({ code: 'QRT_IMAGE', message: expect.stringContaining('20 ms') });
    await expect(decodeImage(ReadableStream.from(['text']) as ReadableStream<never>)).rejects.toMatchObject({ code: 'QRT_IMAGE' });
  });

  it('a server that is busy is asked again after the wait it wants, one that has no such picture is not', async () => {
    const picture = await solid(3, { r: 255, g: 0, b: 0 }, 2, 1).png().toBuffer();
    let asked = 0;
    const server = createServer((request, response) => {
      asked++;
      if (request.url === '/gone') response.writeHead(404).end();
      else if (asked === 1) response.writeHead(503, { 'retry-after': '7' }).end();
      else if (asked === 2) response.writeHead(429).end();
      else response.end(picture);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo; // it listens on a port
    try {
      const waits: number[] = [];
      const retry = { attempts: 3, sleep: async (ms: number): Promise<void> => void waits.push(ms) };
      const never = new AbortController().signal;
      expect(await withRetries(() => decodeImage(`http://127.0.0.1:${port}/busy`), retry, never)).toMatchObject({ width: 2, height: 1 });
      expect([asked, waits]).toEqual([3, [7000, 400]]);
      await expect(withRetries(() => decodeImage(`http://127.0.0.1:${port}/gone`), retry, never)).rejects.toMatchObject({ details: { status: 404 } });
      expect(asked).toBe(4);
    } finally {
      server.close();
    }
  });

  it('what a server does not have, and servers that are not there', async () => {
    const server = createServer((_, response) => { response.statusCode = 404; response.end(); }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    await expect(decodeImage(`http://127.0.0.1:${port}/a`)).rejects.toMatchObject({ code: 'QRT_IMAGE', message: expect.stringContaining('404') });
    await new Promise((resolve) => server.close(resolve));
    await expect(decodeImage(`http://127.0.0.1:${port}/a`)).rejects.toMatchObject({ code: 'QRT_IMAGE' });
  });

  it('raw pixels that do not add up', async () => {
    for (const pixels of [{ width: 2, height: 2, data: new Uint8Array(5) }, { width: 0, height: 0, data: new Uint8Array(0) },
      { width: 2, height: 1, channels: 2, data: new Uint8Array(4) }, { width: NaN, height: 1, data: new Uint8Array(3) }, { width: 1, height: 1, data: 'x' }]) {
      await expect(decodeImage(pixels as never)).rejects.toMatchObject({ code: 'QRT_USAGE' });
    }
  });

  it('limits that are none', async () => {
    for (const limit of [{ maxPixels: 0 }, { maxPixels: NaN }, { maxBytes: -1 }, { timeoutMs: 0 }]) {
      await expect(decodeImage(png, limit)).rejects.toMatchObject({ code: 'QRT_USAGE' });
    }
    const whole = { maxPixels: Infinity, maxBytes: Infinity, timeoutMs: Infinity };
    expect((await decodeImage(new Blob([png]), whole)).width).toBe(70);
  });

  it('to go on after an abort, with the reason of the signal', async () => {
    const reason = new Error('enough');
    await expect(decodeImage(png, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const stop = new AbortController();
    const waiting = decodeImage(new ReadableStream(), { signal: stop.signal });
    stop.abort(reason);
    await expect(waiting).rejects.toBe(reason);
  });

  it('or decodes damaged files, but never fails without a code', async () => {
    await fc.assert(fc.asyncProperty(fc.constantFrom(png, jpeg.subarray(0, 3000)), fc.array(fc.tuple(fc.nat(2000), fc.nat(255)), { minLength: 1, maxLength: 30 }), async (bytes, edits) => {
      const damaged = Uint8Array.from(bytes);
      for (const [at, value] of edits) damaged[at % damaged.length] = value;
      try {
        const { width, height, data } = await decodeImage(damaged);
        expect(data.length).toBe(width * height * 3);
      } catch (error) {
        expect(error).toMatchObject({ code: expect.stringMatching(/^QRT_IMAGE/) });
      }
    }), { numRuns: 60 });
  });
});
