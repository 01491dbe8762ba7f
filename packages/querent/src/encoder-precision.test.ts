import { cp, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MODELS, writeTinyModel } from '../test/tiny-models.ts';
import type { LoadProgress, Querent } from './index.ts';
import { createQuerent } from './index.ts';
import { cosine } from './encoder-calibration.ts';
import { inspectModel } from './inspect.ts';

const PHOTOS = fileURLToPath(new URL('../../../test/photos/', import.meta.url));
const photos = ['astronaut', 'cat', 'coffee', 'photographer', 'raccoon', 'rocket'].map((name) => join(PHOTOS, `${name}.jpg`));
let root = '';
let model = '';
/** The language model's folder, which caches lie beside. */
let beside = '';
let querent: Querent;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'querent-encoder-'));
  model = await writeTinyModel(root, 'llama');
  beside = join(root, 'llama-lm');
  querent = await createQuerent({ inPlace: true, threads: 1 });
});
afterAll(async () => {
  await querent.dispose();
  await rm(root, { recursive: true, force: true });
});

/** What lies in the cache: each file with its time. */
async function cache(): Promise<ReadonlyMap<string, number>> {
  const folder = join(beside, '.querent');
  const names = await readdir(folder);
  return new Map(await Promise.all(names.sort().map(async (name) => [name, (await stat(join(folder, name))).mtimeMs] as const)));
}

test('an encoder in 8 bits, inputs too, sees photographs as float32 does; what was chosen is told, kept and inspected', async () => {
  const exact = await querent.load(model);
  expect(exact.encoderPrecision).toBeUndefined();
  const held = await querent.load(model, { precision: 'int8' });
  const chosen = held.encoderPrecision!;
  expect(chosen).toMatchObject({ blocks: [], stored: [], bar: 0.999, images: 8, imagesFrom: 'built in' });
  expect(chosen.integers).toHaveLength(6); // query, key, value, output, and two of the MLP
  for (const photo of photos) {
    const queries = async (by: typeof held): Promise<Float32Array> => (await by.bridge(await by.encode([await by.prepare(photo)]))).data;
    const reached = cosine(await queries(exact), await queries(held));
    expect(reached, photo).toBeGreaterThan(0.999);
    expect(reached, photo).toBeLessThan(1);
  }
  const before = await cache();
  expect([...before.keys()].map((name) => name.replace(/-[0-9a-f]{12,16}|-to-(127|63)/g, ''))).toEqual(['encoder.found.json', 'encoder-integers.safetensors', 'encoder-integers.safetensors.json', 'int8.safetensors', 'int8.safetensors.json']);
  expect((await querent.load(model, { precision: 'int8' })).encoderPrecision).toEqual(chosen);
  expect(await cache()).toEqual(before);
  // The encoder is held alike under int4, and not looked at again.
  expect((await querent.load(model, { precision: 'int4' })).encoderPrecision).toEqual(chosen);
  expect((await inspectModel(model, { registry: querent.registry })).encoderPrecisions).toEqual([chosen]);
});

test('a damaged choice or damaged integers are made again, the same', async () => {
  const before = await querent.load(model, { precision: 'int8' });
  for (const ending of ['.found.json', '.safetensors']) {
    const name = [...(await cache()).keys()].find((each) => each.startsWith('encoder-') && each.endsWith(ending))!;
    const file = join(beside, '.querent', name);
    const whole = await readFile(file);
    const damaged = Buffer.from(whole);
    const at = ending === '.found.json' ? damaged.indexOf('"cosine"') + 12 : damaged.length - 3;
    damaged[at]! ^= 1;
    await writeFile(file, damaged);
    const again = await querent.load(model, { precision: 'int8' });
    expect(again.encoderPrecision).toEqual(before.encoderPrecision);
    expect((await readFile(file)).equals(whole)).toBe(true);
  }
});

test('a bar that integers do not reach leaves products out of them; the pictures may be one’s own', async () => {
  const { encoderPrecision } = await querent.load(model, { precision: 'int8', calibration: { cosine: 1, images: [photos[0]!, photos[1]!] } });
  expect(encoderPrecision).toMatchObject({ integers: [], images: 2, imagesFrom: 'given', bar: 1 });
  expect(encoderPrecision!.blocks.length + encoderPrecision!.stored.length).toBe(6);
  expect(encoderPrecision!.cosineOfIntegers).toBeLessThan(1);
  // What the calibration tried and did not choose is gone.
  const ofBlocks = [...(await cache()).keys()].filter((name) => /^encoder-blocks-\w+\.safetensors$/.test(name));
  expect(ofBlocks).toHaveLength(encoderPrecision!.blocks.length === 0 ? 0 : 1);
});

test('a first load tells how far it is, the next has nothing to tell', async () => {
  const events: LoadProgress[] = [];
  const load = { precision: 'int8', calibration: { cosine: 0.99999999, images: [photos[2]!] }, onProgress: (event: LoadProgress) => void events.push(event) } as const;
  await rm(join(beside, '.querent'), { recursive: true, force: true });
  await querent.load(model, load);
  for (const what of ['quantising', 'calibrating'] as const) {
    const told = events.filter((event) => event.what === what);
    expect(told.length, what).toBeGreaterThan(2);
    for (const { done, total } of told) expect(done).toBeLessThanOrEqual(total);
  }
  const pictures = events.filter(({ what }) => what === 'calibrating').map(({ done }) => done);
  expect(pictures).toEqual(pictures.toSorted((a, b) => a - b));
  events.length = 0;
  await querent.load(model, load);
  expect(events).toEqual([]);
});

test('what is no calibration is refused before anything is made', async () => {
  await expect(querent.load(model, { precision: 'int8', calibration: { images: [] } })).rejects.toMatchObject({ code: 'QRT_USAGE' });
  for (const wrong of [0, 1.5, NaN]) await expect(querent.load(model, { precision: 'int8', calibration: { cosine: wrong } })).rejects.toMatchObject({ code: 'QRT_USAGE' });
  await expect(querent.load(model, { precision: 'int8', calibration: { images: [join(root, 'none.jpg')] } })).rejects.toMatchObject({ code: expect.stringMatching(/^QRT_/) });
});

test('a convolutional encoder has no products and stays float32: querent-mini sees photographs as it did', async () => {
  for (const name of ['querent-mini', 'querent-mini-lm', 'efficientnet-lite0']) await cp(join(MODELS, name), join(root, name), { recursive: true }); // caches lie beside them
  const mini = join(root, 'querent-mini');
  const [exact, held] = [await querent.load(mini), await querent.load(mini, { precision: 'int8' })];
  expect(held.encoderPrecision).toBeUndefined();
  const queries = async (by: typeof held): Promise<Float32Array> => (await by.bridge(await by.encode([await by.prepare(photos[1]!)]))).data;
  expect(cosine(await queries(exact), await queries(held))).toBeGreaterThan(0.999999);
});
