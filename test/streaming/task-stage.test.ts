/** Tasks one after the other as stages, over real models of a few thousand weights: what each reads, what failed passes, chains are typed. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMetrics, createQuerent, decode, defineTask, from, task } from 'querent';
import type { Querent, VisionLanguageModel } from 'querent';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { picture, writePictures, writeTinyModel } from '../../packages/querent/test/tiny-models.ts';

let root = '';
let querent: Querent;
let writer: VisionLanguageModel;
let reader: VisionLanguageModel;
let files: string[] = [];
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'querent-task-stage-'));
  await writeTinyModel(root, 'llama');
  await writeTinyModel(root, 'retrieval');
  files = await writePictures(join(root, 'pictures'));
  querent = await createQuerent({ inPlace: true, threads: 1 });
  writer = await querent.load(join(root, 'llama'));
  reader = await querent.load(join(root, 'retrieval'));
});
afterAll(async () => {
  await querent.dispose();
  await rm(root, { recursive: true, force: true });
});

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of source) all.push(item);
  return all;
}

describe('a chain of tasks', () => {
  test('gives each what earlier ones wrote, keeps the order, and lets broken files pass', async () => {
    const metrics = createMetrics();
    const chain = from(files).pipe(task(writer, 'caption', { numBeams: 1, maxNewTokens: 6 }, { metrics }), task(reader, 'match', { threshold: 0.6 }, { metrics }));
    const results = await collect(chain);
    expect(results.map(({ item }) => item)).toEqual(files);
    expect(results.map(({ error }) => error === undefined)).toEqual([true, false, true, false, false, true]);
    for (const result of results) {
      if (result.error !== undefined) expect(Object.keys(result).toSorted()).toEqual(['error', 'item']);
      else expect(result).toMatchObject({ text: expect.any(String), probability: expect.any(Number), isMatch: result.probability >= 0.6 });
    }
    expect(metrics.read()).toMatchObject([
      { name: 'caption', taken: 6, done: 6, failed: 3, depth: 0 },
      { name: 'match', taken: 6, done: 6, failed: 0, depth: 0 },
    ]);
  });

  test('follows decode, whose pixels it reads, and keeps an output apart under a name of its own', async () => {
    const image = picture(200, 30, 30);
    const chain = from([image]).pipe(
      decode(),
      task(writer, 'vqa', { question: 'what is it?', maxNewTokens: 4 }, { as: 'answer' }),
      task(reader, 'match', {}, { inputs: { text: 'answer.text' } }),
    );
    const [only] = await collect(chain);
    expect(only).toMatchObject({ item: image, answer: { text: expect.any(String) }, probability: expect.any(Number) });
    expect(only).not.toHaveProperty('text');
  });

  test('reads the fields of items that are objects', async () => {
    const pairs = [{ image: picture(9, 9, 9), text: 'a brown dog' }, { image: picture(9, 9, 9), text: '' }];
    const [good, bad] = await collect(from(pairs).pipe(task(reader, 'match')));
    expect(good?.probability).toBeGreaterThan(0);
    expect(bad?.error).toMatchObject({ code: 'QRT_CONFIG_INVALID' });
  });
});

test('a task of a plugin is a stage too, and tries again what may pass', async () => {
  let failures = 2;
  const shout = defineTask({
    name: 'shout',
    input: { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] },
    output: { type: 'object', properties: { loud: { type: 'string' } }, required: ['loud'] },
    async *run({ text }) {
      if (text === 'b' && failures-- > 0) throw Object.assign(new Error('busy'), { code: 'EBUSY' });
      yield { loud: text.toUpperCase() };
    },
  });
  const waits: number[] = [];
  const retry = { attempts: 3, backoffMs: 50, sleep: async (ms: number) => void waits.push(ms) };
  const results = await collect(from([{ text: 'a' }, { text: 'b' }, { text: 'c' }]).pipe(task(writer, shout, {}, { retry })));
  expect(results.map(({ loud }) => loud)).toEqual(['A', 'B', 'C']);
  expect(waits).toEqual([50, 100]);
});

describe('is refused when it is made', () => {
  test('a task that the model cannot do, one that does not exist, an option that it does not have', () => {
    expect(() => task(writer, 'match')).toThrow(expect.objectContaining({ code: 'QRT_MODEL_UNSUPPORTED' }));
    expect(() => task(writer, 'captoin' as 'caption')).toThrow(expect.objectContaining({ code: 'QRT_PLUGIN_UNKNOWN' }));
    const wrong = { numBeam: 3 };
    expect(() => task(writer, 'caption', wrong)).toThrow(/numBeams/);
  });
});
