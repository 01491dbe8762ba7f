/**
 * Resizing and decoding a 500 × 375 photograph to 224 × 224: ours against sharp's (libvips) in the same process.
 *
 *     npx vitest bench --run bench/images.bench.ts            PHOTO=file.jpg for a picture of your own
 *     PYTHON=python3 npx vitest bench --run bench/images.bench.ts    also runs Pillow (bench/peer_images.py) on the same file
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { decodeImage, resize } from '@querent/images';
import { bench, describe } from 'vitest';

// sharp is the images package's dependency, not the workspace's.
const entry = createRequire(new URL('../packages/images/package.json', import.meta.url)).resolve('sharp');
const { default: sharp } = (await import(pathToFileURL(entry).href)) as typeof import('sharp');

/** Waves with a little noise, as a JPEG. */
async function drawPhoto(): Promise<string> {
  const [width, height] = [500, 375];
  const data = Uint8ClampedArray.from({ length: width * height * 3 }, (_, i) => {
    const [x, y, c] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width), i % 3];
    const noise = ((Math.imul(i, 0x9e3779b1) >>> 24) - 128) / 8;
    return 128 + 90 * Math.sin(x / (31 + 7 * c)) * Math.cos(y / (23 + 5 * c)) + noise;
  });
  const path = join(mkdtempSync(join(tmpdir(), 'querent-bench-')), 'photo.jpg');
  writeFileSync(path, await sharp(data, { raw: { width, height, channels: 3 } }).jpeg({ quality: 90 }).toBuffer());
  return path;
}

const path = process.env['PHOTO'] ?? (await drawPhoto());
const jpeg = readFileSync(path);
const image = await decodeImage(jpeg);
const raw = { raw: { width: image.width, height: image.height, channels: 3 } } as const;
const size = { width: 224, height: 224, fit: 'fill', kernel: 'cubic', fastShrinkOnLoad: false } as const;
const time = { time: 2000, warmupTime: 500 };

/** Milliseconds a run: the best of thirty rounds, as the peer takes it, because other work only ever adds to a time. */
async function bestMs(run: () => unknown, repeats: number): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < 30; round++) {
    const start = performance.now();
    for (let i = 0; i < repeats; i++) await run();
    times.push((performance.now() - start) / repeats);
  }
  return Math.min(...times);
}

if (process.env['PYTHON']) {
  const script = fileURLToPath(new URL('peer_images.py', import.meta.url));
  const peer = JSON.parse(execFileSync(process.env['PYTHON'], [script, path], { encoding: 'utf8' })) as Record<string, number>;
  const resizeMs = await bestMs(() => resize(image, 224, 224), 10);
  const decodeAndResizeMs = await bestMs(async () => resize(await decodeImage(jpeg), 224, 224), 5);
  console.log(JSON.stringify({
    querent: { resizeMs, decodeAndResizeMs },
    peer,
    ratio: { resize: resizeMs / peer['resizeMs']!, decodeAndResize: decodeAndResizeMs / peer['decodeAndResizeMs']! },
  }, (_, value: unknown) => (typeof value === 'number' ? Math.round(value * 1000) / 1000 : value)));
}

describe('resize to 224 × 224', () => {
  bench('querent', () => void resize(image, 224, 224), time);
  bench('sharp', async () => void (await sharp(image.data, raw).resize(size).raw().toBuffer()), time);
});

describe('decode and resize to 224 × 224', () => {
  bench('querent', async () => void resize(await decodeImage(jpeg), 224, 224), time);
  bench('sharp', async () => void (await sharp(jpeg).resize(size).raw().toBuffer()), time);
});
