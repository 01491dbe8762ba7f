import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isQuerentError } from '@querent/core';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseCaptionDataset, readCaptionDataset } from './caption-dataset.ts';

const image = (filename: string, split = 'train'): object => ({ filename, split, imgid: 1, sentences: [{ raw: 'A dog.', tokens: ['a', 'dog'] }] });

describe('parseCaptionDataset', () => {
  it('gives the images of a split, in order', () => {
    const document = { dataset: 'x', images: [image('1.jpg'), image('2.jpg', 'val'), image('3.jpg')] };
    expect(parseCaptionDataset(document, 'x.json', { split: 'train' }).map(({ filename }) => filename)).toEqual(['1.jpg', '3.jpg']);
    expect(parseCaptionDataset(document, 'x.json')).toHaveLength(3);
  });

  it.each<[string, unknown, RegExp]>([
    ['no images', { pictures: [] }, /no list "images"/],
    ['an unknown split', { images: [image('1.jpg')] }, /no image has the split "test"; there are: train/],
    ['a name that leads out', { images: [image('../../etc/passwd')] }, /\/images\/0\/filename: .* leads out/],
    ['an absolute name', { images: [image('/etc/passwd')] }, /leads out/],
    ['a name on a drive', { images: [image('C:\\x')] }, /leads out/],
    ['a name twice', { images: [image('1.jpg'), image('1.jpg')] }, /\/images\/1\/filename: "1.jpg" occurs twice/],
    ['a number for a caption', { images: [{ filename: '1.jpg', sentences: [{ raw: 3 }] }] }, /\/images\/0\/sentences\/0\/raw.* 3/],
    ['an image without captions', { images: [{ filename: '1.jpg', sentences: [] }] }, /at least one sentence/],
    ['tokens of the wrong kind', { images: [{ filename: '1.jpg', sentences: [{ raw: 'a', tokens: [1] }] }] }, /tokens/],
    ['null for an image', { images: [null] }, /\/images\/0.*null/],
  ])('refuses %s', (_, document, message) => {
    expect(() => parseCaptionDataset(document, 'x.json', { split: 'test' })).toThrow(message);
  });

  it('fails with QRT_DATASET on any other document', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (document) => {
        for (const value of [document, { images: document }, { images: [document] }]) {
          try {
            parseCaptionDataset(value, 'x.json');
          } catch (error) {
            expect(isQuerentError(error) && error.code).toBe('QRT_DATASET');
          }
        }
      }),
    );
  });
});

describe('readCaptionDataset', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'querent-captions-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('reads a file, with a byte order mark too', async () => {
    const path = join(folder, 'a.json');
    await writeFile(path, `\ufeff${JSON.stringify({ images: [image('1.jpg')] })}`);
    expect(await readCaptionDataset(path)).toEqual([{ filename: '1.jpg', split: 'train', sentences: [{ raw: 'A dog.', tokens: ['a', 'dog'] }] }]);
    await expect(readCaptionDataset(path, { maxBytes: 10 })).rejects.toThrow(/more than the 10/);
  });

  it('names a file that is absent, a folder, or not JSON', async () => {
    const path = join(folder, 'b.json');
    await writeFile(path, '{"images": [');
    await expect(readCaptionDataset(path)).rejects.toMatchObject({ code: 'QRT_DATASET', message: expect.stringContaining('not JSON') });
    await expect(readCaptionDataset(join(folder, 'none.json'))).rejects.toMatchObject({ code: 'QRT_DATASET' });
    await expect(readCaptionDataset(folder)).rejects.toMatchObject({ code: 'QRT_DATASET' });
  });
});
