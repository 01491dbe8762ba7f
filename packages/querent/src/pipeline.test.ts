import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { picture, writePictures, writeTinyModel } from '../test/tiny-models.ts';
import { createQuerent, defineTask, from, pipeline } from './index.ts';
import { bridge, decode, encode, generate } from './stages.ts';

let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'querent-pipeline-'));
  await writeTinyModel(root, 'llama');
  await writeTinyModel(root, 't5');
  await writeTinyModel(root, 'retrieval');
});
afterAll(() => rm(root, { recursive: true, force: true }));

const here = { inPlace: true, threads: 1 } as const;

describe.each(['llama', 't5'] as const)('captions with a %s', (family) => {
  test('one picture gives one text, the same each time; the prompt changes it', async () => {
    await using caption = await pipeline('caption', { model: join(root, family), ...here });
    const red = picture(200, 30, 30);
    const one = await caption(red);
    expect(one).toEqual({ text: expect.any(String), score: expect.any(Number), finish: expect.stringMatching(/end|length/) });
    expect(await caption({ image: red })).toEqual(one);
    expect((await caption({ image: red, prompt: 'a dog', numBeams: 1 })).score).not.toBe(one.score);
  });

  test('deltas put together are the text, greedily and with beams', async () => {
    await using caption = await pipeline('caption', { model: join(root, family), ...here });
    const image = picture(10, 200, 30);
    for (const numBeams of [1, 3]) {
      let written = '';
      let text: string | undefined;
      for await (const event of caption.stream({ image, numBeams, maxNewTokens: 8 })) {
        written += event.delta;
        text = event.text;
      }
      expect(written).toBe(text);
    }
  });

  test('files among which some are broken fail one by one, in order, and the good ones say what they say alone', async () => {
    const files = await writePictures(join(root, 'pictures'));
    await using caption = await pipeline('caption', { model: join(root, family), ...here });
    const results = [];
    for await (const result of caption(files)) results.push(result);
    expect(results.map(({ item }) => item)).toEqual(files);
    expect(results.map(({ error }) => error === undefined)).toEqual([true, false, true, false, false, true]);
    for (const { error } of results) if (error !== undefined) expect(error).toMatchObject({ code: 'QRT_IMAGE' });
    for (const { item, text, error } of results) if (error === undefined) expect((await caption(item)).text).toBe(text);
  });
});

test('stages put together by hand give what the pipeline gives', async () => {
  const files = await writePictures(join(root, 'pictures'));
  await using querent = await createQuerent(here);
  const model = await querent.load(join(root, 'llama'));
  const captions = from(files).pipe(decode({ concurrency: 2 }), encode(model, { batch: 2 }), bridge(model), generate(model, { prompt: 'a dog', numBeams: 1 }));
  const texts = [];
  for await (const { text, error } of captions) texts.push(error === undefined ? text : error.message);
  expect(texts).toHaveLength(6);
  await using caption = await pipeline('caption', { model, ...here });
  expect(texts[0]).toBe((await caption({ image: files[0]!, prompt: 'a dog', numBeams: 1 })).text);
  expect(texts[1]).toContain('corrupt.png');
});

test('a stop text ends the writing and is left out', async () => {
  await using caption = await pipeline('caption', { model: join(root, 'llama'), ...here });
  const image = picture(90, 20, 200);
  const how = { image, numBeams: 1, maxNewTokens: 12 };
  const { text } = await caption(how);
  const stop = text.slice(Math.floor(text.length / 2), Math.floor(text.length / 2) + 2);
  const cut = await caption({ ...how, stop: [stop] });
  expect(cut.finish).toBe('stop');
  expect(cut.text).toBe(text.slice(0, text.indexOf(stop)).trim());
});

test('a key that does not exist is refused with the one that was meant, alone or in a list', async () => {
  await using caption = await pipeline('caption', { model: join(root, 'llama'), ...here });
  const wrong = { image: picture(1, 2, 3), numBeam: 3 };
  await expect(caption(wrong)).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringContaining('numBeams') });
  const results = [];
  for await (const result of caption([wrong, picture(9, 9, 9)])) results.push(result.error === undefined ? 'fine' : result.error.message);
  expect(results).toEqual([expect.stringContaining('numBeams'), 'fine']);
});

test('match and embed compare a picture with texts', async () => {
  await using match = await pipeline('match', { model: join(root, 'retrieval'), ...here });
  const image = picture(200, 30, 30);
  const one = await match({ image, text: 'a brown dog' });
  expect(one.probability).toBeGreaterThan(0);
  expect(one.probability).toBeLessThan(1);
  expect(one.isMatch).toBe(one.probability >= 0.5);
  const many = [];
  for await (const { probability, similarity } of match([{ image, text: 'a brown dog' }, { image, text: 'two dogs play in the water' }])) many.push({ probability, similarity });
  expect(many[0]!.probability).toBeCloseTo(one.probability, 5);
  expect(many[0]!.similarity).toBeCloseTo(one.similarity, 5);
  expect(many[1]!.similarity).not.toBeCloseTo(one.similarity, 5);

  await using embed = await pipeline('embed', { model: match.model, ...here });
  const { vectors } = await embed({ image });
  const { vectors: [text = []] } = await embed({ text: 'a brown dog' });
  expect(vectors).toHaveLength(4);
  expect(Math.hypot(...text)).toBeCloseTo(1, 5);
  const cosines = vectors.map((vector) => vector.reduce((sum, value, i) => sum + value * text[i]!, 0));
  expect(Math.max(...cosines)).toBeCloseTo(one.similarity, 5);
  await expect(embed({})).rejects.toMatchObject({ code: 'QRT_USAGE' });
});

test('an abort ends a call and a flow with its own reason, and the pipeline goes on', async () => {
  await using caption = await pipeline('caption', { model: join(root, 'llama'), ...here });
  const image = picture(3, 3, 3);
  const stop = new AbortController();
  const reason = new Error('enough');
  stop.abort(reason);
  await expect(caption(image, { signal: stop.signal })).rejects.toBe(reason);
  const later = new AbortController();
  const endless = (function* () {
    for (;;) yield image;
  })();
  let count = 0;
  const read = async (): Promise<void> => {
    for await (const { text } of caption(endless, { signal: later.signal })) {
      expect(text).toBeTypeOf('string');
      if (++count === 3) later.abort(reason);
    }
  };
  await expect(read()).rejects.toBe(reason);
  expect((await caption(image)).text).toBeTypeOf('string');
});

test('leaving a flow early is enough to stop it', async () => {
  await using caption = await pipeline('caption', { model: join(root, 'llama'), ...here });
  let read = 0;
  const image = picture(3, 3, 3);
  const endless = (function* () {
    for (;;) {
      read++;
      yield image;
    }
  })();
  for await (const { text } of caption(endless)) {
    expect(text).toBeTypeOf('string');
    break;
  }
  expect(read).toBeLessThan(200);
});

test('a disposed pipeline says so; twice is harmless', async () => {
  const caption = await pipeline('caption', { model: join(root, 'llama'), ...here });
  await caption.dispose();
  await caption.dispose();
  await expect(caption(picture(1, 1, 1))).rejects.toMatchObject({ code: 'QRT_USAGE', message: expect.stringContaining('disposed') });
});

test('a model that cannot do the task, and a task that does not exist, are refused', async () => {
  await expect(pipeline('caption', { model: join(root, 'retrieval'), ...here })).rejects.toMatchObject({ code: 'QRT_MODEL_UNSUPPORTED' });
  await expect(pipeline('captoin', { model: join(root, 'llama'), ...here })).rejects.toMatchObject({ code: 'QRT_PLUGIN_UNKNOWN', message: expect.stringContaining('"caption"') });
});

test("a plugin's task runs through the same door, one by one in a list", async () => {
  const size = defineTask({
    name: 'size',
    input: { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] },
    output: { type: 'object', properties: { length: { type: 'number' } }, required: ['length'] },
    async *run({ text }) {
      yield { length: text.length };
    },
  });
  await using run = await pipeline<{ text: string }, { length: number }>('size', { model: join(root, 'llama'), plugins: [size], ...here });
  expect(await run({ text: 'abc' })).toEqual({ length: 3 });
  const lengths = [];
  for await (const { length } of run([{ text: 'a' }, { text: 'ab' }])) lengths.push(length);
  expect(lengths).toEqual([1, 2]);
  await expect(run({ text: 4 } as unknown as { text: string })).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID' });
});
