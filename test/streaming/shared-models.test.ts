/** A model is loaded once: pipelines of the same model share it, and calls at the same time become batches. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createQuerent, defineTask, pipeline } from 'querent';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { picture, writeTinyModel } from '../../packages/querent/test/tiny-models.ts';

let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'querent-shared-'));
  await writeTinyModel(root, 'llama');
});
afterAll(() => rm(root, { recursive: true, force: true }));

const here = { inPlace: true, threads: 1 } as const;
const image = picture(200, 30, 30);
const how = { image, numBeams: 1, maxNewTokens: 4 };

describe('two pipelines of one model', () => {
  test('share it, also when they are made at the same time; the last one frees it', async () => {
    const model = join(root, 'llama');
    const [caption, vqa] = await Promise.all([pipeline('caption', { model, ...here }), pipeline('vqa', { model, ...here })]);
    expect(vqa.model).toBe(caption.model);
    const { text } = await caption(how);
    await caption.dispose();
    await caption.dispose();
    expect(await vqa({ ...how, question: 'what?' })).toMatchObject({ text: expect.any(String) });
    const again = await pipeline('caption', { model, ...here });
    expect(again.model).toBe(vqa.model);
    expect((await again(how)).text).toBe(text);
    await vqa.dispose();
    await again.dispose();
    await using later = await pipeline('caption', { model, ...here });
    expect(later.model).not.toBe(caption.model);
  });

  test('do not share what is held differently, nor with other plugins', async () => {
    const model = join(root, 'llama');
    await using plain = await pipeline('caption', { model, ...here });
    await using small = await pipeline('caption', { model, precision: 'int8', ...here });
    expect(small.model).not.toBe(plain.model);
    const other = defineTask({ name: 'other', input: { type: 'object' }, output: { type: 'object' }, async *run() { yield {}; } });
    await using plugged = await pipeline('caption', { model, plugins: [other], ...here });
    await using twice = await pipeline('caption', { model, plugins: new Set([other]), ...here });
    expect(plugged.model).not.toBe(plain.model);
    expect(twice.model).toBe(plugged.model);
  });

  test('the first one may leave while the model loads for the second', async () => {
    const model = join(root, 'llama');
    const controller = new AbortController();
    const reason = new Error('gone');
    const first = expect(pipeline('caption', { model, signal: controller.signal, ...here })).rejects.toBe(reason);
    const second = pipeline('caption', { model, ...here });
    await Promise.resolve().then(() => undefined);
    controller.abort(reason);
    await first;
    await using caption = await second;
    expect((await caption(how)).text).toBeTypeOf('string');
  });

  test('a model that does not load leaves nothing behind', async () => {
    const model = join(root, 'nowhere');
    const both = await Promise.allSettled([pipeline('caption', { model, ...here }), pipeline('vqa', { model, ...here })]);
    for (const one of both) expect(one).toMatchObject({ status: 'rejected', reason: { code: 'QRT_FILE' } });
    await expect(pipeline('caption', { model, ...here })).rejects.toMatchObject({ code: 'QRT_FILE' });
  });
});

describe('calls at the same time', () => {
  test('go through the model together, each with its own answer and its own error', async () => {
    await using querent = await createQuerent(here);
    const model = await querent.load(join(root, 'llama'));
    const batches: number[] = [];
    const encode = model.encode.bind(model);
    model.encode = (pixels, options) => (batches.push(pixels.length), encode(pixels, options));
    await using caption = await pipeline('caption', { model, ...here });
    const images = Array.from({ length: 40 }, (_, i) => picture(6 * i, 255 - 6 * i, 40));
    const alone = [];
    for (const one of images) alone.push((await caption({ ...how, image: one })).text);
    expect(batches).toEqual(images.map(() => 1));
    batches.length = 0;
    const answers = await Promise.allSettled([...images.map((one) => caption({ ...how, image: one })), caption('nowhere.png'), caption({ ...how, numBeam: 2 } as typeof how)]);
    expect(answers.slice(0, 40).map((answer) => (answer.status === 'fulfilled' ? answer.value.text : answer.reason))).toEqual(alone);
    expect(answers.slice(40)).toMatchObject([{ reason: { code: 'QRT_IMAGE' } }, { reason: { code: 'QRT_CONFIG_INVALID' } }]);
    expect(batches.length).toBeLessThanOrEqual(4);
    expect(batches.reduce((sum, size) => sum + size, 0)).toBe(40);
  });

  test('with a seed mean what they mean alone', async () => {
    await using caption = await pipeline('caption', { model: join(root, 'llama'), ...here });
    const drawn = { image, doSample: true, temperature: 3, maxNewTokens: 6, seed: 5 };
    const alone = await caption(drawn);
    expect(await Promise.all([caption(how), caption(drawn), caption(drawn)]).then((all) => all.slice(1))).toEqual([alone, alone]);
  });

  test('one that is given up leaves the others their answers', async () => {
    await using caption = await pipeline('caption', { model: join(root, 'llama'), ...here });
    const controller = new AbortController();
    const reason = new Error('enough');
    const calls = [caption(how), caption(how, { signal: controller.signal }), caption(how)];
    controller.abort(reason);
    await expect(calls[1]).rejects.toBe(reason);
    const [first, , third] = await Promise.allSettled(calls);
    expect(first).toEqual(third);
    expect(first).toMatchObject({ status: 'fulfilled' });
  });
});
