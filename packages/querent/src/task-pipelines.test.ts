/** The tasks over whole models of random weights: what they say means nothing, that it is said the same in every way does. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadTensors, openModelFolder, saveModelFolder } from '@querent/hub';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { picture, writePictures, writeTinyModel } from '../test/tiny-models.ts';
import { createQuerent, pipeline } from './index.ts';

let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'querent-tasks-'));
  for (const family of ['llama', 't5', 'retrieval'] as const) await writeTinyModel(root, family);
});
afterAll(() => rm(root, { recursive: true, force: true }));

const here = { inPlace: true, threads: 1 } as const;
const red = picture(200, 30, 30);
const blue = picture(10, 20, 230);

/** All that is read along, and the output. */
async function readAlong(events: AsyncIterable<{ readonly delta: string; readonly text?: string | undefined }>): Promise<{ readonly deltas: string[]; readonly text: string | undefined }> {
  const deltas: string[] = [];
  let text: string | undefined;
  for await (const event of events) {
    deltas.push(event.delta);
    text = event.text ?? text;
  }
  return { deltas, text };
}

describe.each(['llama', 't5'] as const)('with a %s', (family) => {
  test('n-best captions are different, best first, and the first is the caption', async () => {
    await using caption = await pipeline('caption', { model: join(root, family), ...here });
    const { text, score, nBest = [] } = await caption({ image: red, numBeams: 4, numReturnSequences: 4 });
    expect(nBest).toHaveLength(4);
    expect(new Set(nBest.map((one) => one.text)).size).toBeGreaterThan(1);
    expect(nBest.map((one) => one.score)).toEqual(nBest.map((one) => one.score).toSorted((a, b) => b - a));
    expect({ text, score }).toEqual({ text: nBest[0]!.text, score: nBest[0]!.score });
    expect((await caption({ image: red, numBeams: 4 })).text).toBe(text);
    // Without a word about beams there are as many as texts, even where the model's own number is smaller.
    expect((await caption({ image: red, numReturnSequences: 3 })).nBest).toHaveLength(3);
  });

  test('nucleus sampling repeats with its seed, and not with another', async () => {
    await using caption = await pipeline('caption', { model: join(root, family), ...here });
    const drawn = async (seed: number): Promise<(string | undefined)[]> => {
      const { nBest = [] } = await caption({ image: red, doSample: true, topP: 0.9, temperature: 3, numReturnSequences: 5, seed });
      return nBest.map(({ text }) => text);
    };
    expect(await drawn(1)).toEqual(await drawn(1));
    expect(await drawn(1)).not.toEqual(await drawn(2));
  });

  test('vqa answers alone, in a list and read along alike; the question matters', async () => {
    await using ask = await pipeline('vqa', { model: join(root, family), ...here });
    const questions = ['what is it', 'two dogs play in the water', 'a girl'];
    const alone = [];
    for (const question of questions) alone.push(await ask({ image: red, question }));
    const together = [];
    for await (const { text, score } of ask(questions.map((question) => ({ image: red, question })))) together.push({ text, score });
    expect(together.map(({ text }) => text)).toEqual(alone.map(({ text }) => text));
    together.forEach(({ score }, i) => expect(score).toBeCloseTo(alone[i]!.score, 4));
    expect(new Set(alone.map(({ score }) => score.toFixed(4))).size).toBe(3);
    const { deltas, text } = await readAlong(ask.stream({ image: red, question: questions[0]! }));
    expect(deltas.join('')).toBe(text);
    expect(text).toBe(alone[0]!.text);
    await expect(ask({ image: red, question: ' ' })).rejects.toMatchObject({ code: 'QRT_USAGE' });
  });

  test('candidates are chosen by what the language model says of each, alone and in a list', async () => {
    await using ask = await pipeline('vqa', { model: join(root, family), ...here });
    const candidates = ['a brown dog', 'a rock', 'snow'];
    const question = 'what is it';
    const { text, ranking = [], finish } = await ask({ image: red, question, candidates });
    expect(ranking.map((one) => one.text).toSorted()).toEqual(candidates);
    expect(ranking[0]).toMatchObject({ text });
    expect(finish).toBeUndefined();
    const results = [];
    for await (const result of ask([{ image: red, question, candidates }, { image: blue, question }, { image: blue, question, candidates: ['water', 'fire'] }])) results.push(result);
    expect(results[0]!.ranking?.map((one) => one.text)).toEqual(ranking.map((one) => one.text));
    results[0]!.ranking?.forEach((one, i) => expect(one.score).toBeCloseTo(ranking[i]!.score, 3));
    expect(results[1]!.ranking).toBeUndefined();
    expect(results[2]!.ranking).toHaveLength(2);
    // The sum over the answer's tokens is the mean times their number: the model says both.
    await using querent = await createQuerent(here);
    const model = await querent.load(join(root, family));
    const softPrompt = await model.bridge(await model.encode([await model.prepare(red)]));
    const [sums] = await model.score(softPrompt, candidates, { lengthPenalty: 0 });
    const [means] = await model.score(softPrompt, candidates);
    for (const [i, sum] of sums!.entries()) expect(sum / means![i]!).toBeCloseTo(Math.round(sum / means![i]!), 3);
  });

  test('instruct writes token by token, and a broken picture in a list fails alone', async () => {
    await using instruct = await pipeline('instruct', { model: join(root, family), ...here });
    const { deltas, text } = await readAlong(instruct.stream({ image: red, instruction: 'a man', maxNewTokens: 8 }));
    expect(deltas.join('')).toBe(text);
    expect(deltas.length).toBeGreaterThan(2);
    const files = await writePictures(join(root, 'pictures'));
    const results = [];
    for await (const result of instruct(files.map((image) => ({ image, instruction: 'a man', maxNewTokens: 4 })))) results.push(result);
    expect(results.map(({ error }) => error === undefined)).toEqual([true, false, true, false, false, true]);
  });

  test('a talk goes on over its turns and its pictures', async () => {
    await using chat = await pipeline('chat', { model: join(root, family), ...here });
    const first = { role: 'user', content: 'what is it' } as const;
    const one = await chat({ image: red, messages: [first], maxNewTokens: 6 });
    const second = [first, { role: 'assistant', content: one.text }, { role: 'user', content: 'a rock' }] as const;
    const two = await readAlong(chat.stream({ image: red, messages: second, maxNewTokens: 6 }));
    expect(two.deltas.join('')).toBe(two.text);
    const both = await chat({ images: [red, blue], messages: [first], maxNewTokens: 6 });
    expect(both.score).not.toBeCloseTo(one.score, 6);
    await expect(chat({ messages: [first] })).rejects.toMatchObject({ code: 'QRT_USAGE' });
    await expect(chat({ image: red, messages: [first, { role: 'assistant', content: 'x' }] })).rejects.toMatchObject({ code: 'QRT_USAGE' });
  });
});

test("a talk is put as the tokenizer's chat template says, with its first token once", async () => {
  await using querent = await createQuerent(here);
  await writeTinyModel(root, 'llama');
  const config = join(root, 'llama-lm', 'tokenizer_config.json');
  await writeFile(config, JSON.stringify({ bos_token: '<s>', chat_template: '{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}' }));
  try {
    const model = await querent.load(join(root, 'llama'));
    expect(await model.chatPrompt([{ role: 'user', content: 'hello' }])).toBe('[user] hello ');
  } finally {
    await rm(config);
  }
  expect(await (await querent.load(join(root, 'llama'))).chatPrompt([{ role: 'user', content: 'hello' }])).toBeUndefined();
});

test('attend gives a map a word or a query, and draws them', async () => {
  await using attend = await pipeline('attend', { model: join(root, 'retrieval'), ...here });
  const { maps, png } = await attend({ image: red, text: 'a brown dog' });
  expect(maps.map(({ word }) => word)).toEqual(['a', 'brown', 'dog']);
  for (const { weights, rows, columns } of maps) {
    expect(weights).toHaveLength(rows * columns);
    expect(weights.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 4);
  }
  expect(Array.from(png!.subarray(0, 4))).toEqual([0x89, 0x50, 0x4e, 0x47]);
  const each = await attend({ image: red, perQuery: true });
  expect(each.maps.map(({ query }) => query)).toEqual([0, 1, 2, 3]);
  // The map of the image alone is the mean of the queries'.
  const { maps: [mean] } = await attend(red);
  mean!.weights.forEach((weight, i) => expect(weight).toBeCloseTo(each.maps.reduce((sum, map) => sum + map.weights[i]! / 4, 0), 2));
});

test('embed: images, texts and both in one list are what they are alone', async () => {
  await using embed = await pipeline('embed', { model: join(root, 'retrieval'), ...here });
  const inputs = [{ image: red }, { text: 'a brown dog' }, { image: red, text: 'a brown dog' }, { image: red, text: 'a girl' }, { image: Buffer.from('x') }, { image: blue }];
  const results = [];
  for await (const result of embed(inputs)) results.push(result);
  expect(results.map(({ of }) => of)).toEqual(['image', 'text', 'both', 'both', undefined, 'image']);
  expect(results[4]!.error).toMatchObject({ code: 'QRT_IMAGE' });
  for (const i of [0, 1, 2, 3, 5]) {
    const { vectors } = await embed(inputs[i]!);
    results[i]!.vectors!.forEach((vector, row) => vector.forEach((value, k) => expect(value).toBeCloseTo(vectors[row]![k]!, 4)));
  }
  expect(results[2]!.vectors).toHaveLength(4);
  expect(results[2]!.vectors![0]).toHaveLength(16); // the bridge's own width, not the shared space's 8
  expect(results[2]!.vectors).not.toEqual(results[3]!.vectors);
});

test('a model whose bridge reads the question is asked there too, and says so of itself', async () => {
  // The language model's bridge, with the text branch of the retrieval model's: it has the same sizes.
  const [writes, reads] = [await openModelFolder(join(root, 'llama')), await openModelFolder(join(root, 'retrieval'))];
  const isBridge = ([name]: readonly [string, unknown]): boolean => !/^(vision_model|language_model)\./.test(name);
  const weights = await loadTensors(new Map([...reads.parameters, ...writes.parameters].filter(isBridge)));
  const folder = join(root, 'reading');
  const config = JSON.parse(await readFile(join(root, 'llama', 'config.json'), 'utf8')) as { qformer_config: object };
  await saveModelFolder(folder, {
    config: { ...config, prompts: { vqa: 'Q: {} A:' }, qformer_config: { ...config.qformer_config, use_qformer_text_input: true } },
    parameters: weights,
    tokenizer: join(root, 'retrieval', 'tokenizer.json'),
  });
  await using querent = await createQuerent(here);
  const model = await querent.load(folder);
  expect(model.readsInstruction).toBe(true);
  expect(model.prompts).toEqual({ vqa: 'Q: {} A:' });
  await using ask = await pipeline('vqa', { model, ...here });
  await using deaf = await pipeline('vqa', { model: join(root, 'llama'), ...here });
  const question = 'a girl is jumping';
  const [one, other] = [await ask({ image: red, question }), await deaf({ image: red, question, prompt: 'Q: {} A:' })];
  expect(one.score).not.toBeCloseTo(other.score, 4);
  const [first, second] = await Promise.all([question, 'a rock'].map(async (text) => model.bridge(await model.encode([await model.prepare(red)]), { texts: [text] })));
  expect(first!.data).not.toEqual(second!.data);
  for await (const { text, score } of ask([{ image: red, question }])) expect({ text, score: score!.toFixed(3) }).toEqual({ text: one.text, score: one.score.toFixed(3) });
});
