import { describe, expect, it } from 'vitest';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { globPattern, photosOf } from './inputs.ts';

async function names(named: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of photosOf(named)) found.push(name);
  return found;
}

describe('globPattern', () => {
  it.each([
    ['*.jpg', 'a.jpg', true],
    ['*.jpg', 'b/a.jpg', false],
    ['**/*.jpg', 'a.jpg', true],
    ['**/*.jpg', 'b/c/a.jpg', true],
    ['b/**', 'b/c/a.jpg', true],
    ['?.jpg', 'ab.jpg', false],
    ['[ab].jpg', 'b.jpg', true],
    ['[!ab].jpg', 'b.jpg', false],
    ['{cat,dog}.{jpg,png}', 'dog.png', true],
    ['{cat,dog}.jpg', 'cow.jpg', false],
    ['a+b(1).jpg', 'a+b(1).jpg', true],
    ['a.jpg', 'axjpg', false],
  ])('%s against %s: %s', (pattern, path, fits) => {
    expect(globPattern(pattern).test(path)).toBe(fits);
  });
});

describe('photosOf', () => {
  it('walks folders in order of name, without what is hidden, and fits patterns', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'querent-inputs-'));
    try {
      await mkdir(join(folder, 'sub'));
      for (const file of ['b.jpg', 'a.jpg', '.hidden', join('sub', 'c.png')]) await writeFile(join(folder, file), '');
      expect(await names([folder])).toEqual(['a.jpg', 'b.jpg', join('sub', 'c.png')].map((file) => join(folder, file)));
      expect(await names([join(folder, '**/*.png')])).toEqual([join(folder, 'sub', 'c.png')]);
      expect(await names([join(folder, 'none.jpg'), 'https://example.org/a.jpg'])).toEqual([join(folder, 'none.jpg'), 'https://example.org/a.jpg']);
      await expect(names([join(folder, '*.tiff')])).rejects.toMatchObject({ code: 'QRT_USAGE' });
      await expect(names([])).rejects.toMatchObject({ code: 'QRT_USAGE' });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
