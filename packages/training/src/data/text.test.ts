import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { randomAt } from './batches.ts';
import { contentWords, drawKeywords, normaliseCaption, readLines } from './text.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-text-'));
});
afterAll(() => rm(folder, { recursive: true }));

it('normalises to lower case, letters, digits, apostrophes and single blanks', () => {
  expect(normaliseCaption('  A dog\'s ball -- isn\'t "RED"!\t2 of 3. ')).toBe("a dog's ball isn't red 2 of 3");
  fc.assert(
    fc.property(fc.string(), (text) => {
      const once = normaliseCaption(text);
      expect(once).toMatch(/^([a-z0-9']+( [a-z0-9']+)*)?$/);
      expect(normaliseCaption(once)).toBe(once);
    }),
  );
});

it('keeps the words that carry content, once each', () => {
  expect(contentWords('A dog and a dog on the grass in a photo')).toEqual(['dog', 'grass']);
  expect(contentWords('')).toEqual([]);
});

it('draws keywords from the caption, with strangers only from the other', () => {
  const [caption, other] = ['two brown dogs run through deep snow', 'red car parked beside house'];
  for (let i = 0; i < 50; i++) {
    const words = drawKeywords(caption, other, { share: 1, keep: [0.5, 1], distractors: 0.2, most: 5 }, randomAt(i));
    expect(words.length).toBeLessThanOrEqual(5);
    for (const word of words) expect(`${caption} ${other}`.split(' ')).toContain(word);
  }
  expect(drawKeywords(caption, other, { share: 1, keep: [1, 1], distractors: 0, most: 99 }, randomAt(1)).sort()).toEqual(contentWords(caption).sort());
  expect(drawKeywords(caption, other, { share: 0, keep: [1, 1], distractors: 1, most: 9 }, randomAt(1))).toEqual([]);
});

it('reads lines of plain and gzip files, without the empty ones', async () => {
  await writeFile(join(folder, 'a.txt'), 'one\n\n two \n');
  await writeFile(join(folder, 'a.txt.gz'), gzipSync('one\n\n two \n'));
  expect(await readLines(join(folder, 'a.txt'))).toEqual(['one', ' two ']);
  expect(await readLines(join(folder, 'a.txt.gz'))).toEqual(['one', ' two ']);
});

it('refuses what it cannot read', async () => {
  await writeFile(join(folder, 'cut.gz'), gzipSync('one\n').subarray(0, 12));
  for (const name of ['missing.txt', 'cut.gz', '.']) await expect(readLines(join(folder, name))).rejects.toMatchObject({ code: 'QRT_DATASET' });
});
