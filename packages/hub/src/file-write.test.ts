import { mkdir, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeFileAtomic } from './file-write.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-write-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('writes text, bytes and pieces, makes folders and replaces', async () => {
  const file = join(folder, 'a/b/c.txt');
  await writeFileAtomic(file, 'é');
  expect(await readFile(file, 'utf8')).toBe('é');
  await writeFileAtomic(file, [Buffer.from('one '), Buffer.from('two')]);
  expect(await readFile(file, 'utf8')).toBe('one two');
  expect(await readdir(join(folder, 'a/b'))).toEqual(['c.txt']);
});

test('a disk that fills up half way leaves the old file and no other, and says what to do', async () => {
  const file = join(folder, 'full/x.bin');
  await writeFileAtomic(file, 'old');
  function* pieces(): Generator<Uint8Array> {
    yield Buffer.from('new');
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  }
  await expect(writeFileAtomic(file, pieces())).rejects.toMatchObject({
    code: 'QRT_FILE',
    message: expect.stringMatching(/x\.bin: the disk is full/),
    fix: expect.stringContaining('Free some space'),
  });
  expect(await readFile(file, 'utf8')).toBe('old');
  expect(await readdir(join(folder, 'full'))).toEqual(['x.bin']);
});

test('a folder in the way is QRT_FILE and stays', async () => {
  await mkdir(join(folder, 'way/there'), { recursive: true });
  await expect(writeFileAtomic(join(folder, 'way/there'), 'x')).rejects.toMatchObject({ code: 'QRT_FILE' });
  await expect(writeFileAtomic('/dev/null/x', 'x')).rejects.toMatchObject({ code: 'QRT_FILE' });
  expect(await readdir(join(folder, 'way'))).toEqual(['there']);
});
