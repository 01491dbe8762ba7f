import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeImage, encodePng } from '@querent/images';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readQuestions } from './vqa.ts';
import type { QuestionSource } from './vqa.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-vqa-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const read = (source: QuestionSource, part: 'train' | 'held-out' = 'train'): ReturnType<typeof readQuestions> => readQuestions(source, { dataFolder: folder, cacheFolder: join(folder, 'cache'), part });

describe('DAQUAR', () => {
  const rows = Array.from({ length: 60 }, (_, i) => ({ image: `image${i % 30}.jpg`, question: ` what is ${i} `, answer: 'cup, lamp' }));

  it('gives each picture once, in the order of the questions', async () => {
    await writeFile(join(folder, 'train.json'), JSON.stringify(rows));
    const { pictures, questions } = await read({ format: 'daquar', file: 'train.json' });
    expect(pictures.folder).toBe(join(folder, 'images'));
    expect(pictures.filenames).toHaveLength(30);
    expect(questions[31]).toEqual({ picture: 1, question: 'what is 31', answer: 'cup, lamp' });
  });

  it('holds out pictures with all their questions, the same ones in any order', async () => {
    await writeFile(join(folder, 'train.json'), JSON.stringify(rows));
    await writeFile(join(folder, 'reversed.json'), JSON.stringify(rows.toReversed()));
    const source = { format: 'daquar', file: 'train.json', heldOut: 0.3 } as const;
    const [learnt, held, reversed] = [await read(source), await read(source, 'held-out'), await read({ ...source, file: 'reversed.json' }, 'held-out')];
    expect(learnt.questions.length + held.questions.length).toBe(60);
    expect(held.pictures.filenames.length).toBeGreaterThan(2);
    expect(learnt.pictures.filenames.filter((name) => held.pictures.filenames.includes(name))).toEqual([]);
    expect(reversed.pictures.filenames.toSorted()).toEqual(held.pictures.filenames.toSorted());
    await expect(read({ format: 'daquar', file: 'train.json' }, 'held-out')).rejects.toMatchObject({ code: 'QRT_DATASET' });
  });

  it('refuses rows of another form, paths that lead out, and what is no list', async () => {
    for (const bad of [[{ image: '../a.jpg', question: 'x', answer: 'y' }], [{ image: 'a.jpg', question: 1, answer: 'y' }], {}, [null]]) {
      await writeFile(join(folder, 'bad.json'), JSON.stringify(bad));
      await expect(read({ format: 'daquar', file: 'bad.json' })).rejects.toMatchObject({ code: 'QRT_DATASET' });
    }
    await expect(read({ format: 'daquar', file: 'none.json' })).rejects.toMatchObject({ code: 'QRT_DATASET' });
  });
});

describe('easy-VQA', () => {
  /** Six tiles of 4 × 4 in three columns, tile i all of the level 10 i. */
  async function writeSheet(): Promise<void> {
    await mkdir(join(folder, 'shapes'), { recursive: true });
    const data = new Uint8Array(12 * 8 * 3);
    for (let y = 0; y < 8; y++) for (let x = 0; x < 12; x++) data.fill(10 * (Math.floor(y / 4) * 3 + Math.floor(x / 4)), (y * 12 + x) * 3, (y * 12 + x + 1) * 3);
    await writeFile(join(folder, 'shapes', 'images.png'), await encodePng({ width: 12, height: 8, data }));
  }
  const document = { sheet: 'images.png', columns: 3, tile: 4, questions: [[0, 'what?', 'circle'], [4, 'which?', 'red'], [4, 'is it?', 'no']] };

  it('cuts the tiles out of the sheet, once', async () => {
    await writeSheet();
    await writeFile(join(folder, 'shapes', 'questions.json'), JSON.stringify(document));
    const source = { format: 'easy-vqa', file: 'shapes/questions.json' } as const;
    const { pictures, questions } = await read(source);
    expect(questions.map(({ picture, answer }) => [picture, answer])).toEqual([[0, 'circle'], [1, 'red'], [1, 'no']]);
    const tile = await decodeImage(join(pictures.folder, pictures.filenames[1]!));
    expect([tile.width, tile.height, new Set(tile.data)]).toEqual([4, 4, new Set([40])]);
    expect(await read(source)).toEqual({ pictures, questions });
    expect(await readdir(join(folder, 'cache'))).toHaveLength(1);
  });

  it('refuses questions about tiles that the sheet does not have, and other forms', async () => {
    await writeSheet();
    for (const bad of [{ ...document, questions: [[6, 'what?', 'red']] }, { ...document, questions: [[-1, 'what?', 'red']] }, { ...document, sheet: '../x.png' }, { ...document, tile: 0 }, []]) {
      await writeFile(join(folder, 'shapes', 'bad.json'), JSON.stringify(bad));
      await expect(read({ format: 'easy-vqa', file: 'shapes/bad.json' })).rejects.toMatchObject({ code: 'QRT_DATASET' });
    }
    expect((await readdir(join(folder, 'cache'))).filter((name) => name.includes('partial'))).toEqual([]);
  });
});
