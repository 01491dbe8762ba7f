import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readAnnotations } from './annotations.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-annotations-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function file(content: unknown): Promise<string> {
  const path = join(folder, 'annotations.json');
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

const row = (filename: string, split: string): object => ({ filename, split, sentences: [{ raw: 'A dog .' }], extra: 1 });

it('reads the images of the named splits in the order of the file', async () => {
  const path = await file({ images: [row('a.jpg', 'train'), row('b.jpg', 'val'), row('sub/c.jpg', 'train')], dataset: 'x' });
  expect((await readAnnotations(path, ['train'])).map((image) => image.filename)).toEqual(['a.jpg', 'sub/c.jpg']);
  expect(await readAnnotations(path)).toHaveLength(3);
  expect((await readAnnotations(path))[0]).toEqual({ filename: 'a.jpg', split: 'train', captions: ['A dog .'] });
});

it('names the splits that there are', async () => {
  const path = await file({ images: [row('a.jpg', 'train'), row('b.jpg', 'val')] });
  await expect(readAnnotations(path, ['test'])).rejects.toMatchObject({ code: 'QRT_DATASET', fix: expect.stringContaining('train, val') as string });
});

describe('hostile files', () => {
  const hostile: Readonly<Record<string, unknown>> = {
    'not JSON': '{"images": [',
    empty: '',
    'JSON null': 'null',
    'no list': { images: {} },
    'an empty list': { images: [] },
    'a row that is null': { images: [null] },
    'a caption that is a number': { images: [{ filename: 'a.jpg', sentences: [{ raw: 1 }] }] },
    'a filename that is a list': { images: [{ filename: ['a.jpg'], sentences: [] }] },
    'a way out of the folder': { images: [row('../../secret.jpg', 'train')] },
    'a way out by backslashes': { images: [row('a\\..\\..\\b.jpg', 'train')] },
    'an absolute path': { images: [row('/etc/passwd', 'train')] },
    "another drive's path": { images: [row('C:\\x.jpg', 'train')] },
    'a zero byte': { images: [row('a.jpg\0', 'train')] },
    'an empty filename': { images: [row('', 'train')] },
  };
  for (const [name, content] of Object.entries(hostile)) {
    it(`refuses ${name}`, async () => {
      await expect(readAnnotations(await file(content))).rejects.toMatchObject({ code: 'QRT_DATASET' });
    });
  }

  it('refuses any other JSON with a code', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (value) => {
        await expect(readAnnotations(await file({ images: value }))).rejects.toMatchObject({ code: 'QRT_DATASET' });
      }),
      { numRuns: 30 },
    );
  });

  it('refuses a missing file and a folder', async () => {
    for (const path of [join(folder, 'none.json'), folder]) await expect(readAnnotations(path)).rejects.toMatchObject({ code: 'QRT_DATASET' });
  });
});
