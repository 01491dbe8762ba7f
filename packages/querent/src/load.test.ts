import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TensorData } from '@querent/core';
import { loadTensors, readSafetensors, saveModelFolder, openModelFolder, toFloat32 } from '@querent/hub';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GOLDENS, MODELS, picture, writeTinyModel } from '../test/tiny-models.ts';
import type { Querent, RecipeObject } from './index.ts';
import { createQuerent } from './index.ts';

let root = '';
let querent: Querent;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'querent-load-'));
  await writeTinyModel(root, 'llama');
  await writeTinyModel(root, 'retrieval');
  querent = await createQuerent({ inPlace: true, threads: 1 });
});
afterAll(async () => {
  await querent.dispose();
  await rm(root, { recursive: true, force: true });
});

/** The tensors of a golden fixture. */
async function golden(name: string, file: 'inputs' | 'expected'): Promise<Map<string, TensorData>> {
  return loadTensors((await readSafetensors(join(GOLDENS, name, `${file}.safetensors`))).tensors);
}

function rows(batch: TensorData): TensorData<'float32'>[] {
  const [count = 0, ...shape] = batch.shape;
  const size = batch.data.length / count;
  return Array.from({ length: count }, (_, i) => ({ dtype: 'float32', shape, data: (batch.data as Float32Array).subarray(i * size, (i + 1) * size) }));
}

function expectClose(actual: { readonly data: ArrayLike<number> }, expected: TensorData | undefined): void {
  const wanted = Array.from(expected?.data ?? [], Number);
  expect(actual.data).toHaveLength(wanted.length);
  const largest = Math.max(...wanted.map(Math.abs));
  wanted.forEach((value, i) => expect(Math.abs(actual.data[i]! - value)).toBeLessThanOrEqual(1e-4 * largest));
}

/** A copy of the tiny model with another config, and tensors taken out or changed. */
async function variant(name: string, family: 'llama' | 'retrieval', change: (config: Record<string, unknown>, tensors: Map<string, TensorData>) => void): Promise<string> {
  const path = join(root, name);
  const config = JSON.parse(await readFile(join(root, family, 'config.json'), 'utf8')) as Record<string, unknown>;
  const tensors = await loadTensors((await readSafetensors(join(root, family, 'model.safetensors'))).tensors);
  change(config, tensors);
  await saveModelFolder(path, { config, parameters: tensors });
  return path;
}

describe('what a model computes is what transformers computes', () => {
  test.each(['blip2-opt', 'blip2-t5'])('%s: encoder and bridge', async (name) => {
    const model = await querent.load(join(GOLDENS, name));
    const [inputs, expected] = [await golden(name, 'inputs'), await golden(name, 'expected')];
    const features = await model.encode(rows(inputs.get('pixel_values')!));
    expectClose(features, expected.get('vision_last_hidden_state'));
    expectClose(await model.bridge(features), expected.get('language_projection'));
    expect([...model.capabilities].sort()).toEqual(['attend', 'bridge', 'encode', 'generate', 'score']);
    expect(model.extraTensors).toEqual([]);
    // The fixture has no tokenizer.
    await expect(model.generate(await model.bridge(features)).next()).rejects.toMatchObject({ code: 'QRT_TOKENIZER' });
  });

  test('blip2-itm: vectors of images', async () => {
    const model = await querent.load(join(GOLDENS, 'blip2-itm'));
    const [inputs, expected] = [await golden('blip2-itm', 'inputs'), await golden('blip2-itm', 'expected')];
    const features = await model.encode(rows(inputs.get('pixel_values')!));
    expectClose(await model.embedImages(features), expected.get('image_embeds'));
    expect([...model.capabilities].sort()).toEqual(['attend', 'bridge', 'embed', 'encode', 'match']);
    await expect(model.generate(features).next()).rejects.toMatchObject({ code: 'QRT_MODEL_UNSUPPORTED' });
  });
});

test('EfficientNet-Lite0 and a recipe without bridge weights: the bridge is drawn, always the same', async () => {
  const recipe: RecipeObject = {
    vision_config: { from: join(MODELS, 'efficientnet-lite0') },
    qformer_config: { model_type: 'blip_2_qformer', hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16, vocab_size: 300, num_query_tokens: 3 },
    text_config: { from: 'llama-lm' },
  };
  const first = await querent.load(recipe, { baseDir: root });
  const pixels = await first.prepare(picture(120, 60, 30));
  expect(pixels.shape).toEqual([3, 224, 224]);
  const features = await first.encode([pixels]);
  expect(features.shape).toEqual([1, 49, 320]);
  const softPrompt = await first.bridge(features);
  expect(softPrompt.shape).toEqual([1, 3, 24]);
  const second = await querent.load(recipe, { baseDir: root });
  expect((await second.bridge(features)).data).toEqual(softPrompt.data);
});

test('memory of pixels that are given up takes the next image, unless they were not encoded', async () => {
  const model = await querent.load(join(root, 'llama'));
  const [one, other] = [picture(5, 80, 200), picture(200, 0, 0)];
  const wanted = await model.encode([await model.prepare(other)]);
  const pixels = await model.prepare(one);
  await expect(model.encode([pixels], { givesUpPixels: true, signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
  expect((await model.prepare(other)).data).not.toBe(pixels.data);
  await model.encode([pixels], { givesUpPixels: true });
  const next = await model.prepare(other);
  expect(next.data).toBe(pixels.data);
  expect((await model.encode([next])).data).toEqual(wanted.data);
  expect((await model.prepare(one)).data).not.toBe(next.data);
});

test('candidates are scored by the mean log-probability of their tokens', async () => {
  const model = await querent.load(join(root, 'llama'));
  const softPrompt = await model.bridge(await model.encode([await model.prepare(picture(5, 80, 200)), await model.prepare(picture(200, 0, 0))]));
  const scores = await model.score(softPrompt, ['a dog', 'two dogs play'], { prompt: 'a' });
  expect(scores.map((row) => row.length)).toEqual([2, 2]);
  for (const row of scores) for (const score of row) expect(score).toBeLessThan(0);
  const one = await model.score({ ...softPrompt, shape: [1, ...softPrompt.shape.slice(1)], data: softPrompt.data.subarray(0, softPrompt.data.length / 2) }, ['two dogs play'], { prompt: 'a' });
  expect(one[0]![0]).toBeCloseTo(scores[0]![1]!, 4);
});

test('a text is matched with the image that it names, and attention is shared out over the patches', async () => {
  const model = await querent.load(join(root, 'retrieval'));
  const images = [picture(5, 80, 200), picture(200, 0, 0)];
  const features = await model.encode(await Promise.all(images.map((image) => model.prepare(image))));
  const crossed = await model.match(features, ['a dog', 'a dog', 'a girl is jumping'], { images: [1, 0, 1] });
  const straight = await model.match(features, ['a dog', 'a girl is jumping']);
  expect(crossed[1]).toBeCloseTo(straight[0]!, 5);
  expect(crossed[2]).toBeCloseTo(straight[1]!, 5);
  await expect(model.match(features, ['a'], { images: [2] })).rejects.toMatchObject({ code: 'QRT_USAGE' });

  const { scores, logits } = await model.rerank(features, ['a dog', 'a girl is jumping'], Float32Array.of(0.5, -0.2));
  straight.forEach((probability, i) => expect(1 / (1 + Math.exp(-logits[i]!))).toBeCloseTo(probability, 5));
  const stored = (await readSafetensors(join(root, 'retrieval', 'model.safetensors'))).tensors.get('temp')!;
  const temperature = Number((await toFloat32(stored)).data[0]);
  expect(scores[0]).toBeCloseTo(logits[0]! + 0.5 / temperature, 4);
  expect(scores[1]).toBeCloseTo(logits[1]! - 0.2 / temperature, 4);
  await expect(model.rerank(features, ['a dog', 'a dog'], Float32Array.of(1))).rejects.toMatchObject({ code: 'QRT_USAGE' });

  const [first] = rows(features);
  const one = { ...first!, shape: [1, ...first!.shape] };
  const maps = await model.attend(one, 'a brown dog');
  expect(maps.map(({ word, rows: down, columns }) => [word, down, columns])).toEqual([['a', 2, 2], ['brown', 2, 2], ['dog', 2, 2]]);
  for (const { weights } of maps) expect(weights.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
  expect(await model.attend(one, '')).toHaveLength(1);
});

describe('what does not fit is refused before memory is spent', () => {
  test('missing and misshaped tensors of all parts, at once', async () => {
    const path = await variant('damaged', 'llama', (_, tensors) => {
      tensors.delete('query_tokens');
      tensors.set('language_projection.bias', { dtype: 'float32', shape: [7], data: new Float32Array(7) });
    });
    await expect(querent.load(path)).rejects.toMatchObject({
      code: 'QRT_CHECKPOINT_MISMATCH',
      message: expect.stringMatching(/damaged.*language_projection\.bias is \[7\]; the config asks for \[24\].*query_tokens is missing/s),
      fix: expect.any(String),
    });
  });

  test("a frozen part's tensors are looked for in the part's own folder", async () => {
    const vision = join(root, 'other-vision');
    await saveModelFolder(vision, { config: { ...(await openModelFolder(join(root, 'vision'))).config, hidden_size: 32 }, parameters: (await openModelFolder(join(root, 'vision'))).parameters });
    const path = await variant('other', 'llama', (config) => {
      config['vision_config'] = { from: '../other-vision' };
      config['qformer_config'] = { ...(config['qformer_config'] as object), encoder_hidden_size: 32 };
    });
    await expect(querent.load(path)).rejects.toMatchObject({ code: 'QRT_CHECKPOINT_MISMATCH', message: expect.stringMatching(/other-vision does not fit.*other does not fit/s) });
  });

  test('a model_type that no plugin has, with the nearest one', async () => {
    const path = await variant('unknown', 'llama', (config) => {
      config['qformer_config'] = { ...(config['qformer_config'] as object), model_type: 'blip2_qformer' };
    });
    await expect(querent.load(path)).rejects.toMatchObject({
      code: 'QRT_MODEL_UNSUPPORTED',
      message: expect.stringMatching(/unknown.config\.json: \/qformer_config\/model_type.*Did you mean "blip_2_qformer"/s),
    });
  });

  test('a config that does not fit its schema: the file, the place and what was expected', async () => {
    const path = await variant('wrong', 'llama', (config) => {
      config['qformer_config'] = { ...(config['qformer_config'] as object), num_hidden_layers: 'two' };
    });
    await expect(querent.load(path)).rejects.toMatchObject({
      code: 'QRT_CONFIG_INVALID',
      message: expect.stringMatching(/wrong.config\.json: qformer_config has a mistake:\n {2}\/qformer_config\/num_hidden_layers {2}is "two", expected an integer/),
    });
    const lm = join(root, 'wrong-lm');
    await cp(join(root, 'llama-lm'), lm, { recursive: true });
    await writeFile(join(lm, 'config.json'), JSON.stringify({ ...(await openModelFolder(lm)).config, vocab_size: -1 }));
    const whole = await variant('wrong-too', 'llama', (config) => {
      config['text_config'] = { from: '../wrong-lm' };
    });
    await expect(querent.load(whole)).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringMatching(/wrong-lm.config\.json: text_config has a mistake:\n {2}\/vocab_size/) });
  });

  test('a folder that is not there, an aborted load, a precision and an engine that do not exist', async () => {
    await expect(querent.load(join(root, 'nowhere'))).rejects.toMatchObject({ code: 'QRT_FILE' });
    const reason = new Error('enough');
    await expect(querent.load(join(root, 'llama'), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await expect(querent.load(join(root, 'llama'), { precision: 'int5' as 'fp32' })).rejects.toMatchObject({ code: 'QRT_USAGE' });
    await expect(querent.load(join(root, 'llama'), { engine: 'onnxruntme' })).rejects.toMatchObject({ code: 'QRT_PLUGIN_UNKNOWN', message: expect.stringContaining('"onnxruntime"') });
    await expect(querent.load(join(root, 'llama'), { engine: 'onnxruntime:abacus' })).rejects.toMatchObject({ code: 'QRT_ENGINE_PROVIDER' });
  });

  test('tensors that nobody asked for are listed, known redundant ones are not', async () => {
    const extra: TensorData = { dtype: 'float32', shape: [1], data: new Float32Array(1) };
    const path = await variant('more', 'llama', (_, tensors) => {
      tensors.set('qformer.surprise.weight', extra);
      tensors.set('embeddings.position_ids', extra);
      tensors.set('temp', extra); // of stage 1
    });
    expect((await querent.load(path)).extraTensors).toEqual(['qformer.surprise.weight']);
  });
});

test("another model's tokenizer is noticed before anything runs", async () => {
  const path = await variant('foreign', 'llama', () => undefined);
  const vocabulary = ['[UNK]', ...Array.from({ length: 400 }, (_, i) => `w${i}`)];
  const tokenizer = { model: { type: 'WordPiece', unk_token: '[UNK]', vocab: Object.fromEntries(vocabulary.map((word, id) => [word, id])) }, pre_tokenizer: { type: 'WhitespaceSplit' } };
  await cp(join(root, 'llama-lm'), join(root, 'foreign-lm'), { recursive: true });
  await writeFile(join(root, 'foreign-lm/tokenizer.json'), JSON.stringify(tokenizer));
  const config = JSON.parse(await readFile(join(path, 'config.json'), 'utf8')) as object;
  await writeFile(join(path, 'config.json'), JSON.stringify({ ...config, text_config: { from: '../foreign-lm' } }));
  const model = await querent.load(path);
  const softPrompt = await model.bridge(await model.encode([await model.prepare(picture(1, 2, 3))]));
  await expect(model.generate(softPrompt, { prompt: 'w399' }).next()).rejects.toMatchObject({ code: 'QRT_TOKENIZER', message: expect.stringContaining('400') });
  // Without a text and without special tokens the soft prompt alone is read.
  const texts = [];
  for await (const event of model.generate(softPrompt)) if (event.type === 'text') texts.push(event.text);
  expect(texts).toHaveLength(1);
});

test('a disposed model says so', async () => {
  const model = await querent.load(join(root, 'llama'));
  await model[Symbol.asyncDispose]();
  await expect(model.encode([await model.prepare(picture(1, 2, 3))])).rejects.toMatchObject({ code: 'QRT_USAGE', message: expect.stringContaining('disposed') });
});

test('on a worker thread a model says what it says in place', async () => {
  await using host = await createQuerent({ threads: 1 });
  const texts = [];
  for (const one of [host, querent]) {
    const model = await one.load(join(root, 'llama'));
    const softPrompt = await model.bridge(await model.encode([await model.prepare(picture(100, 200, 10))]));
    for await (const event of model.generate(softPrompt, { prompt: 'a dog' })) if (event.type === 'text') texts.push(event.text);
  }
  expect(texts[0]).toBe(texts[1]);
  expect(texts[0]).not.toBe('');
});

test('an abort ends writing on a worker thread with its own reason, and the model goes on', async () => {
  await using host = await createQuerent({ threads: 1 });
  const model = await host.load(join(root, 'llama'));
  const softPrompt = await model.bridge(await model.encode([await model.prepare(picture(100, 200, 10))]));
  const stop = new AbortController();
  const reason = new Error('enough');
  const read = async (): Promise<void> => {
    for await (const event of model.generate(softPrompt, { numBeams: 1, minNewTokens: 1000, maxNewTokens: 1000, signal: stop.signal })) {
      expect(event.type).toBe('delta');
      stop.abort(reason);
    }
  };
  await expect(read()).rejects.toBe(reason);
  for await (const event of model.generate(softPrompt)) expect(event.type).toBe('text');
});

test('a plugin with the name of a built-in one takes its place', async () => {
  const { vitPlugin } = await import('@querent/encoders');
  let built = 0;
  const counted = { ...vitPlugin, build: (...args: Parameters<typeof vitPlugin.build>) => (built++, vitPlugin.build(...args)) };
  await using mine = await createQuerent({ plugins: [counted], inPlace: true, threads: 1 });
  await mine.load(join(root, 'llama'));
  expect(built).toBeGreaterThan(0);
});
