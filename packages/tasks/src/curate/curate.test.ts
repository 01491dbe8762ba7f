import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { distinctCaptions } from '../curate.ts';
import { readRows } from './rows.ts';
import type { BadRow, PairRow } from './rows.ts';
import { TAR_END, readTar, tarEntry } from './tar.ts';

let root: string;
beforeEach(async () => void (root = await mkdtemp(join(tmpdir(), 'querent-curate-'))));
afterEach(() => rm(root, { recursive: true, force: true }));

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const one of source) list.push(one);
  return list;
}

async function written(name: string, data: string | Uint8Array): Promise<string> {
  await writeFile(join(root, name), data);
  return join(root, name);
}

const said = (row: PairRow | BadRow): unknown => ('error' in row ? (row.error as { code?: string }).code : [row.name, row.captions]);

it('captions that differ in case, blanks or a last period are one', () => {
  const web = { caption: ' A dog  runs. ', source: 'web' } as const;
  expect(distinctCaptions([web, { caption: 'a dog runs', source: 'synthetic' }, { caption: '', source: 'synthetic' }, { caption: 'two dogs', source: 'synthetic' }])).toEqual([
    { caption: 'A dog runs.', source: 'web' },
    { caption: 'two dogs', source: 'synthetic' },
  ]);
});

describe('JSONL', () => {
  it('gives good rows, and bad ones with a code', async () => {
    const lines = ['{"image":"a.jpg","caption":"x","url":"u"}', '', 'nonsense', '[]', '{"caption":"no image"}', '{"image":"b.jpg","captions":["y","z"]}', '{"image":"c.jpg","captions":[1]}', '{"image":"d.jpg"}'];
    const rows = await all(readRows(await written('pairs.jsonl', `\ufeff${lines.join('\r\n')}`)));
    const bad = 'QRT_DATASET';
    expect(rows.map(said)).toEqual([['a.jpg', ['x']], bad, bad, bad, ['b.jpg', ['y', 'z']], bad, ['d.jpg', []]]);
    expect(rows[0]).toMatchObject({ index: 0, image: join(root, 'a.jpg'), rest: { url: 'u' } });
  });

  it('a line without an end is passed over in constant memory, and the next one is read', async () => {
    const file = await written('long.jsonl', `{"image":"${'x'.repeat(5000)}"}\n{"image":"b.jpg","caption":"y"}\n`);
    expect((await all(readRows(file, {}, 1000))).map(said)).toEqual(['QRT_DATASET', ['b.jpg', ['y']]]);
  });

  it('goes on from any row with what would have come', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(fc.string(), fc.record({ image: fc.string({ minLength: 1 }), caption: fc.string() }).map((row) => JSON.stringify(row))), { maxLength: 12 }), fc.nat(12), async (lines, after) => {
        const file = await written('any.jsonl', lines.map((line) => line.replaceAll('\n', ' ')).join('\n'));
        const rows = await all(readRows(file));
        const from = rows[Math.min(after, rows.length) - 1];
        if (from === undefined) return;
        expect((await all(readRows(file, { offset: from.next, index: from.index + 1 }))).map(said)).toEqual(rows.slice(from.index + 1).map(said));
      }),
      { numRuns: 40 },
    );
  });

  it('a file that is not there is an error with a code', async () => {
    await expect(all(readRows(join(root, 'none.jsonl')))).rejects.toMatchObject({ code: 'QRT_DATASET' });
    await expect(all(readRows(root))).rejects.toMatchObject({ code: 'QRT_DATASET' });
  });
});

describe('WebDataset', () => {
  const archive = (...files: readonly (readonly [string, string])[]): Buffer => Buffer.concat([...files.map(([name, text]) => tarEntry(name, Buffer.from(text))), TAR_END]);

  it('joins neighbours of one base name, and takes captions from .txt and .json', async () => {
    const file = await written('s.tar', archive(['d/1.jpg', 'J1'], ['d/1.txt', 'one\n'], ['2.json', '{"captions":["a","b"],"id":7}'], ['2.png', 'J2'], ['3.txt', 'alone'], ['4.jpg', 'J4'], ['4.json', '{'], ['5.jpg', 'J5']));
    const rows = await all(readRows(file));
    expect(rows.map(said)).toEqual([['d/1.jpg', ['one']], ['2.png', ['a', 'b']], 'QRT_DATASET', 'QRT_DATASET', ['5.jpg', []]]);
    expect(rows[1]).toMatchObject({ image: Buffer.from('J2'), rest: { id: 7 } });
    const [, second] = rows;
    expect((await all(readRows(file, { offset: second!.next, index: 2 }))).map(said)).toEqual(rows.slice(2).map(said));
  });

  it('writes names of any length so that they are read back', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.stringMatching(/^[a-zé/0-9_-]{1,300}$/), fc.uint8Array({ maxLength: 1200 })), { maxLength: 5 }), async (files) => {
        const file = await written('a.tar', Buffer.concat([...files.map(([name, data]) => tarEntry(name, data)), TAR_END]));
        const entries = await all(readTar(createReadStream(file) as AsyncIterable<Buffer>, file, { maxEntryBytes: 1 << 20 }));
        expect(entries.map(({ name, data }) => [name, Uint8Array.from(data ?? [])])).toEqual(files.map(([name, data]) => [name, Uint8Array.from(data)]));
      }),
      { numRuns: 40 },
    );
  });

  it('a huge file of a sample fails alone, a damaged archive is refused', async () => {
    const good = archive(['1.jpg', 'x'.repeat(3000)], ['1.txt', 'big'], ['2.jpg', 'J'], ['2.txt', 'small']);
    expect((await all(readRows(await written('big.tar', good), {}, 1000))).map(said)).toEqual(['QRT_DATASET', ['2.jpg', ['small']]]);
    for (const cut of [100, 700, 2000]) await expect(all(readRows(await written('cut.tar', good.subarray(0, cut))))).rejects.toMatchObject({ code: 'QRT_DATASET' });
    const flipped = Buffer.from(good);
    flipped[20]! ^= 0xff;
    await expect(all(readRows(await written('flip.tar', flipped)))).rejects.toMatchObject({ code: 'QRT_DATASET' });
    expect((await readdir(root)).length).toBeGreaterThan(0);
    expect((await readFile(join(root, 'big.tar'))).length % 512).toBe(0);
  });
});
