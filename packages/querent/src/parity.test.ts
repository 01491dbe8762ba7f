/**
 * Whole models against transformers, text included: each id of a fixture is a word (`w63`), so that its sentences can be written down and
 * go through a tokenizer like anyone's.
 */
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GenerateOptions, TensorData } from '@querent/core';
import { loadTensors, readJsonObject, readSafetensors, toFloat32 } from '@querent/hub';
import { fromGenerationConfig } from '@querent/llm-adapters';
import { similarities, unstack } from '@querent/tasks';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GOLDENS } from '../test/tiny-models.ts';
import { createQuerent } from './index.ts';

let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'querent-parity-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

interface Frame {
  readonly before?: number;
  readonly after?: number;
}

/** A tokenizer of words. */
function wordTokenizer({ before, after }: Frame): object {
  const word = (id: number): string => (id === 0 ? '[PAD]' : id === before ? '[CLS]' : id === after ? '[SEP]' : `w${id}`);
  const special = (id: number): object => ({ SpecialToken: { id: word(id), type_id: 0 } });
  const ids = [before, after].filter((id) => id !== undefined);
  const single = [...(before === undefined ? [] : [special(before)]), { Sequence: { id: 'A', type_id: 0 } }, ...(after === undefined ? [] : [special(after)])];
  return {
    version: '1.0',
    added_tokens: [0, ...ids].map((id) => ({ id, content: word(id), special: true, single_word: false, lstrip: false, rstrip: false, normalized: false })),
    pre_tokenizer: { type: 'WhitespaceSplit' },
    post_processor: { type: 'TemplateProcessing', single, pair: single, special_tokens: Object.fromEntries(ids.map((id) => [word(id), { id: word(id), ids: [id], tokens: [word(id)] }])) },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
    model: { type: 'WordPiece', unk_token: 'w1', continuing_subword_prefix: '##', max_input_chars_per_word: 20, vocab: Object.fromEntries(Array.from({ length: 160 }, (_, id) => [word(id), id])) },
  };
}

/** A copy of a fixture with such a tokenizer, and one for its bridge where that has its own. */
async function withTokenizer(name: string, frame: Frame, bridge?: Frame): Promise<string> {
  const path = await mkdtemp(join(root, name));
  await cp(join(GOLDENS, name), path, { recursive: true });
  await writeFile(join(path, 'tokenizer.json'), JSON.stringify(wordTokenizer(frame)));
  if (bridge !== undefined) {
    await mkdir(join(path, 'qformer_tokenizer'));
    await writeFile(join(path, 'qformer_tokenizer', 'tokenizer.json'), JSON.stringify(wordTokenizer(bridge)));
  }
  return path;
}

const tensors = async (name: string, file: string): Promise<Map<string, TensorData>> => loadTensors((await readSafetensors(join(GOLDENS, name, `${file}.safetensors`))).tensors);

/** Rows of ids as sentences: without what `drop` names. */
function sentences(ids: TensorData, drop: readonly number[]): string[] {
  const width = ids.shape[1] ?? 0;
  return Array.from({ length: ids.shape[0] ?? 0 }, (_, row) =>
    Array.from(ids.data.slice(row * width, (row + 1) * width), Number)
      .filter((id) => !drop.includes(id))
      .map((id) => `w${id}`)
      .join(' '),
  );
}

interface Run {
  readonly name: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly sequences: readonly (readonly number[])[];
}

test.each([
  { name: 'blip2-opt', frame: { before: 2 }, drop: [1, 2, 159], skip: 13, end: 72 },
  { name: 'blip2-t5', frame: {}, drop: [0, 159], skip: 1, end: undefined },
  { name: 'instructblip-llama', frame: { before: 1 }, drop: [0, 1, 159], skip: 13, end: 158, bridge: {} },
])('$name writes what transformers writes, greedily and with beams', async ({ name, frame, drop, skip, end, bridge }) => {
  await using querent = await createQuerent({ inPlace: true, threads: 1 });
  const model = await querent.load(await withTokenizer(name, frame, bridge));
  expect(model.extraTensors).toEqual([]);
  expect(model.readsInstruction).toBe(bridge !== undefined);
  const inputs = await tensors(name, 'inputs');
  const notes = await readJsonObject(join(GOLDENS, name, 'expected.json'));
  const pixels = unstack(await toFloat32(inputs.get('pixel_values')!));
  const instructions = inputs.get('qformer_input_ids');
  const softPrompt = await model.bridge(await model.encode(pixels), instructions === undefined ? {} : { texts: sentences(instructions, [0]) });
  const prompt = sentences(inputs.get('input_ids')!, drop);
  let compared = 0;
  for (const run of notes['generations'] as Run[]) {
    const { numReturnSequences = 1, eosTokenIds = [], ...options } = fromGenerationConfig(run.options);
    const known = ['maxNewTokens', 'minNewTokens', 'numBeams', 'lengthPenalty', 'repetitionPenalty', 'noRepeatNgramSize'];
    if (!Object.keys(options).every((key) => known.includes(key)) || (end !== undefined && eosTokenIds.join() !== String(end))) continue;
    const ends = end === undefined ? eosTokenIds : [end];
    const rows: number[][] = [];
    for await (const event of model.generate(softPrompt, { ...(options as GenerateOptions), prompt })) if (event.type === 'text') rows[event.row] = [...event.tokenIds];
    const wanted = run.sequences.filter((_, i) => i % numReturnSequences === 0).map((ids) => {
      const text = ids.slice(skip);
      const at = text.findIndex((id) => ends.includes(id));
      return at < 0 ? text : text.slice(0, at + 1);
    });
    expect(rows, run.name).toEqual(wanted);
    compared++;
  }
  expect(compared).toBeGreaterThan(3);
});

test('beams end at a stop text, and lengths may count the prompt', async () => {
  await using querent = await createQuerent({ inPlace: true, threads: 1 });
  const model = await querent.load(await withTokenizer('blip2-opt', { before: 2 }));
  const inputs = await tensors('blip2-opt', 'inputs');
  const softPrompt = await model.bridge(await model.encode(unstack(await toFloat32(inputs.get('pixel_values')!)).slice(0, 1)));
  const write = async (options: GenerateOptions): Promise<{ readonly text: string; readonly tokenIds: readonly number[]; readonly finish: string }[]> => {
    const texts = [];
    for await (const event of model.generate(softPrompt, { prompt: 'w5 w9', ...options })) if (event.type === 'text') texts.push(event);
    return texts;
  };
  const beams = { numBeams: 4, numReturnSequences: 4, maxNewTokens: 10 };
  const word = (await write(beams))[0]!.text.split(' ')[3]!;
  const stopped = (await write({ ...beams, stop: [`${word} `, ` ${word}`] })).filter(({ finish }) => finish === 'stop');
  expect(stopped.length).toBeGreaterThan(0);
  for (const { text, tokenIds } of stopped) {
    expect(text.split(' ')).not.toContain(word);
    expect(tokenIds.at(-1)).toBe(Number(word.slice(1))); // the beam goes no further than the token that completes it
  }
  // 6 queries, the first token and two words stand before.
  expect((await write({ maxLength: 13, minLength: 13 }))[0]!.tokenIds).toHaveLength(4);
  await expect(write({ maxLength: 9 })).rejects.toMatchObject({ code: 'QRT_USAGE', message: expect.stringContaining('9 tokens have been read') as string });
});

test('blip2-itm compares images and texts as transformers does', async () => {
  await using querent = await createQuerent({ inPlace: true, threads: 1 });
  const model = await querent.load(await withTokenizer('blip2-itm', { before: 2, after: 3 }));
  const inputs = await tensors('blip2-itm', 'inputs');
  const expected = await tensors('blip2-itm', 'expected');
  const features = await model.encode(unstack(await toFloat32(inputs.get('pixel_values')!)));
  const texts = sentences(inputs.get('input_ids')!, [0, 2, 3]);
  const [images, vectors] = [await model.embedImages(features), await model.embedTexts(texts)];
  const close = (actual: ArrayLike<number>, name: string): void => {
    const wanted = Array.from(expected.get(name)?.data ?? [], Number);
    expect(actual).toHaveLength(wanted.length);
    wanted.forEach((value, i) => expect(actual[i], `${name} ${i}`).toBeCloseTo(value, 4));
  };
  close(vectors.data, 'text_embeds');
  close(similarities(images, vectors).flatMap((row) => Array.from(row)), 'itc_logits_per_image');
  const pairs = [0, 1, 2].flatMap((image) => texts.map((text) => ({ image, text })));
  const probabilities = await model.match(features, pairs.map(({ text }) => text), { images: pairs.map(({ image }) => image) });
  close(probabilities, 'itm_match_probability');

  // This checkpoint holds no temperature: the cosine is added as it is.
  const cosines = Float32Array.from(pairs.map((_, i) => Number(expected.get('itc_logits_per_image')?.data[i])));
  const { scores, logits } = await model.rerank(features, pairs.map(({ text }) => text), cosines, { images: pairs.map(({ image }) => image) });
  close(logits.map((logit) => 1 / (1 + Math.exp(-logit))), 'itm_match_probability');
  scores.forEach((score, i) => expect(score).toBeCloseTo(logits[i]! + cosines[i]!, 5));
});
