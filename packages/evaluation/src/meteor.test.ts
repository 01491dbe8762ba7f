import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { existsSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { isQuerentError } from '@querent/core';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readMeteorData, readParaphrases } from './meteor-data.ts';
import { meteorWords } from './meteor-normalise.ts';
import { stemEnglish } from './meteor-stem.ts';
import { createSynonyms } from './meteor-synonyms.ts';
import { meteor } from './meteor.ts';
import { meteorMetric } from './metrics.ts';

// What meteor-1.5.jar says of the pairs of coco-caption.json.gz, of words and of lines; see fixtures/generate_meteor.py.
interface Golden {
  readonly scores: Readonly<Record<string, { readonly corpus: number; readonly perImage: readonly number[] }>>;
  readonly stems: readonly [word: string, stem: string][];
  readonly lines: readonly [line: string, words: string][];
  readonly senses: Readonly<Record<string, readonly number[]>>;
  readonly bases: Readonly<Record<string, readonly string[]>>;
}
const read = (file: string): unknown => JSON.parse(gunzipSync(readFileSync(new URL(`../fixtures/${file}`, import.meta.url))).toString());
const golden = read('meteor.json.gz') as Golden; // ours
const { images } = read('coco-caption.json.gz') as { readonly images: readonly [hypothesis: string, references: string[]][] }; // ours
const hypotheses = images.map(([hypothesis]) => hypothesis.split(' '));
const references = images.map(([, captions]) => captions.map((caption) => caption.split(' ')));

/** The figures equal the tool's, of the corpus and of each image. */
function expectGolden(scores: ReturnType<typeof meteor>, name: string): void {
  const { corpus, perImage } = golden.scores[name] ?? { corpus: Number.NaN, perImage: [] };
  expect(scores.name).toBe(name);
  expect(scores.corpus).toBeCloseTo(corpus, 10);
  expect(Math.max(...perImage.map((score, image) => Math.abs(score - (scores.perImage[image] ?? Number.NaN))))).toBeLessThan(1e-6);
}

describe('METEOR of 1,000 COCO captions equals meteor-1.5.jar', () => {
  it('by exact words and stems', { timeout: 120_000 }, () => expectGolden(meteor(hypotheses, references), 'exact+stem'));

  it('with the synonyms of its own WordNet', { timeout: 120_000 }, () => {
    const synonyms = createSynonyms('synonym', new Map(Object.entries(golden.senses).map(([word, ids]) => [word, new Set(ids)])), new Map(Object.entries(golden.bases)));
    expectGolden(meteor(hypotheses, references, { synonyms }), 'exact+stem+synonym');
  });

  // METEOR's data may not be passed on: set QUERENT_TEST_METEOR to a folder with meteor-1.5.jar and data/paraphrase-en.gz.
  const data = process.env['QUERENT_TEST_METEOR'];
  it.skipIf(data === undefined || !existsSync(data))('all of it, with its own data (skipped: QUERENT_TEST_METEOR names no copy of METEOR 1.5)', { timeout: 120_000 }, async () => {
    const lines = images.flatMap(([hypothesis, captions]) => [hypothesis, ...captions]);
    expectGolden(meteor(hypotheses, references, await readMeteorData({ data }, lines)), 'METEOR');
  });
});

describe('its parts equal those of the jar', () => {
  it('stems', () => expect(golden.stems.filter(([word, stem]) => stemEnglish(word) !== stem)).toEqual([]));
  it('words of a line', () => expect(golden.lines.filter(([line, words]) => meteorWords(line).join(' ') !== words)).toEqual([]));
});

describe('properties', () => {
  const caption = fc.array(fc.constantFrom('a', 'dog', 'dogs', 'cat', 'run', 'running', 'red', 'the'), { minLength: 1, maxLength: 9 });

  it('a caption equal to a reference scores 1, any other less, none below 0', () => {
    fc.assert(
      fc.property(caption, fc.array(caption, { minLength: 1, maxLength: 3 }), (tokens, others) => {
        expect(meteor([tokens], [[...others, tokens]]).perImage[0]).toBeCloseTo(1, 12);
        const score = meteor([tokens], [others]).perImage[0] ?? Number.NaN;
        expect(score).toBeGreaterThanOrEqual(0);
        expect(score).toBeLessThanOrEqual(1 + 1e-12);
      }),
    );
  });

  it('any text is divided into words, and no word is empty', () => {
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom(...'ab.,\'-’–“ 19\u00a0éß☃'), maxLength: 20 }), (text) => void expect(meteorWords(text).every((word) => word.trim() !== '' && stemEnglish(word) !== undefined)).toBe(true)));
  });

  it('an empty caption scores 0', () => expect(meteor([[]], [[['a', 'dog']]]).perImage).toEqual([0]));
});

describe('data of its user', () => {
  let folder = '';
  beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'querent-meteor-'))));
  afterAll(() => rm(folder, { recursive: true, force: true }));
  const refusal = async (work: Promise<unknown>): Promise<string> => work.then(() => 'nothing', (error: unknown) => (isQuerentError(error) ? error.code : String(error)));

  it('a table of paraphrases is read as far as the captions ask for it', async () => {
    const file = join(folder, 'paraphrase-en.gz');
    await writeFile(file, gzipSync('0.5\na bike\ncycle\n0.1\na bike\nvelocipede\n0.2\nriding\nrides on\n'));
    const table = await readParaphrases(file, ['a man riding a bike', 'he rides on his cycle']);
    expect([...table]).toEqual([['a bike', ['cycle']], ['riding', ['rides on']]]);
    const { perImage, name } = meteor([['man', 'riding', 'a', 'bike']], [[['man', 'rides', 'on', 'cycle']]], { paraphrases: table });
    expect(name).toBe('exact+stem+paraphrase');
    expect(perImage[0]).toBeGreaterThan(meteor([['man', 'riding', 'a', 'bike']], [[['man', 'rides', 'on', 'cycle']]]).perImage[0] ?? 1);
  });

  it('a WordNet gives synonyms, and the figure its name', async () => {
    const dict = join(folder, 'dict');
    await mkdir(dict);
    const head = '  1 WordNet 3.1 Copyright 2011\n';
    await writeFile(join(dict, 'index.noun'), `${head}couch n 1 1 @ 1 0 00000007  \nsofa n 2 1 @ 2 0 00000007 00000009  \ngoose n 1 0 1 0 00000011  \n`);
    for (const kind of ['verb', 'adj', 'adv']) await writeFile(join(dict, `index.${kind}`), head);
    await writeFile(join(dict, 'noun.exc'), 'geese goose\n');
    const { synonyms } = await readMeteorData({ wordnet: dict }, []);
    expect([...(synonyms?.senses('sofas') ?? [])]).toEqual([7, 9]);
    expect([...(synonyms?.senses('geese') ?? [])]).toEqual([11]);
    const judged = [{ id: '1', prediction: 'A red sofa.', reference: ['a red couch'] }];
    const { figures, each } = await meteorMetric.evaluate(judged, { wordnet: dict });
    expect(Object.keys(figures)).toEqual(['exact+stem+synonym (WordNet 3.1)']);
    expect(each?.['exact+stem+synonym (WordNet 3.1)']).toHaveLength(1);
  });

  it('what is missing, cut short or something else is refused with a code', async () => {
    expect(await refusal(readMeteorData({ data: join(folder, 'nowhere') }, []))).toBe('QRT_FILE');
    expect(await refusal(readMeteorData({ wordnet: folder }, []))).toBe('QRT_FILE');
    const file = join(folder, 'cut.gz');
    await writeFile(file, gzipSync('0.5\na bike\ncycle\n'.repeat(500)).subarray(0, 40));
    expect(await refusal(readParaphrases(file, []))).toBe('QRT_DATASET');
    await writeFile(file, gzipSync('0.5\na bike\n'));
    expect(await refusal(readParaphrases(file, []))).toBe('QRT_DATASET');
    await writeFile(file, gzipSync('x'.repeat(100_000)));
    expect(await refusal(readParaphrases(file, []))).toBe('QRT_DATASET');
    await writeFile(join(folder, 'meteor-1.5.jar'), 'PK\u0005\u0006 no archive');
    expect(await refusal(readMeteorData({ data: folder }, []))).toBe('QRT_DATASET');
    const reason = new Error('enough');
    expect(await refusal(readParaphrases(join(folder, 'paraphrase-en.gz'), [], AbortSignal.abort(reason)))).toBe(String(reason));
  });
});
