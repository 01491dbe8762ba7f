import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { float32 } from '@querent/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openModelFolder, resolveFrom } from './model-folder.ts';
import { saveModelFolder } from './model-folder-save.ts';
import { loadTensor } from './safetensors.ts';
import { loadTokenizer } from './tokenizer.ts';
import { trainByteLevelBpe } from './tokenizer-train.ts';

const goldens = join(dirname(fileURLToPath(import.meta.url)), '../../../test/goldens/v1');
let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'querent-folder-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const weights = (...names: string[]) => new Map(names.map((name, i) => [name, float32([1], [i + 1])]));
const tokenizer = trainByteLevelBpe(['a dog'], { vocabSize: 300, specialTokens: ['<pad>', '<s>', '</s>'] });

test('opens a golden folder', async () => {
  const folder = await openModelFolder(join(goldens, 'blip2-opt'));
  expect(folder.config['model_type']).toBe('blip-2');
  expect(folder.parameters.has('query_tokens')).toBe(true);
  expect(folder.tokenizerFile).toBeUndefined();
});

test('parts named by `from` give their config, weights, tokenizer and preprocessing', async () => {
  await saveModelFolder(join(root, 'parts/vision'), {
    config: { model_type: 'vit', hidden_size: 8 },
    parameters: weights('embeddings.cls_token'),
    preprocessorConfig: { size: { height: 32, width: 32 } },
  });
  await saveModelFolder(join(root, 'parts/lm'), {
    config: { model_type: 'llama' },
    parameters: weights('model.norm.weight'),
    tokenizer,
    generationConfig: { num_beams: 3 },
  });
  await saveModelFolder(join(root, 'whole'), {
    config: {
      model_type: 'blip-2',
      vision_config: { from: '../parts/vision', hidden_size: 9 },
      qformer_config: { model_type: 'blip_2_qformer' },
      text_config: { from: '../parts/lm' },
    },
    parameters: weights('query_tokens'),
  });
  const whole = await openModelFolder(join(root, 'whole'));
  expect(whole.config).toEqual({
    model_type: 'blip-2',
    vision_config: { model_type: 'vit', hidden_size: 9 },
    qformer_config: { model_type: 'blip_2_qformer' },
    text_config: { model_type: 'llama' },
  });
  expect([...whole.parameters.keys()].sort()).toEqual(['language_model.model.norm.weight', 'query_tokens', 'vision_model.embeddings.cls_token']);
  expect(whole.preprocessorConfig).toEqual({ size: { height: 32, width: 32 } });
  expect(whole.generationConfig).toEqual({ num_beams: 3 });
  expect((await loadTokenizer(whole.tokenizerFile ?? '')).decode([1], { skipSpecialTokens: true })).toBe('');

  // A part may come from a whole model as well: only that part's tensors are taken.
  const part = await resolveFrom('text_config', { from: 'whole' }, root);
  expect(part.config).toEqual({ model_type: 'llama' });
  expect([...part.parameters.keys()]).toEqual(['language_model.model.norm.weight']);
  const bridge = await resolveFrom('qformer_config', { from: 'whole' }, root);
  expect([...bridge.parameters.keys()]).toEqual(['query_tokens']);
});

test('an encoder that was published inside a classifier is taken out of it', async () => {
  for (const type of ['vit', 'dinov2']) {
    await saveModelFolder(join(root, `${type}-classifier`), {
      config: { model_type: type },
      parameters: weights(`${type}.embeddings.cls_token`, `${type}.layernorm.weight`, 'classifier.bias'),
    });
    const { parameters } = await resolveFrom('vision_config', { from: `${type}-classifier` }, root);
    expect([...parameters.keys()].sort()).toEqual(['vision_model.classifier.bias', 'vision_model.embeddings.cls_token', 'vision_model.layernorm.weight']);
  }
  const other = await resolveFrom('text_config', { from: 'vit-classifier' }, root);
  expect([...other.parameters.keys()]).toContain('language_model.vit.layernorm.weight');
});

test('a circle, a missing folder and a `from` that is no path are refused', async () => {
  await mkdir(join(root, 'one'));
  await mkdir(join(root, 'two'));
  await writeFile(join(root, 'one/config.json'), JSON.stringify({ text_config: { from: '../two' } }));
  await writeFile(join(root, 'two/config.json'), JSON.stringify({ text_config: { from: '../one' } }));
  await expect(openModelFolder(join(root, 'one'))).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringContaining('circle') });
  await writeFile(join(root, 'two/config.json'), JSON.stringify({ text_config: { from: '../none' } }));
  await expect(openModelFolder(join(root, 'two'))).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringContaining('no folder') });
  await writeFile(join(root, 'two/config.json'), JSON.stringify({ text_config: { from: 3 } }));
  await expect(openModelFolder(join(root, 'two'))).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID' });
});

test('bad folders are refused with a code', async () => {
  await expect(openModelFolder(join(root, 'nowhere'))).rejects.toMatchObject({ code: 'QRT_FILE' });
  const folder = join(root, 'bad');
  await mkdir(folder);
  await expect(openModelFolder(folder)).rejects.toMatchObject({ code: 'QRT_FILE' });
  await writeFile(join(folder, 'config.json'), '{');
  await expect(openModelFolder(folder)).rejects.toMatchObject({ code: 'QRT_CONFIG_UNREADABLE' });
  await writeFile(join(folder, 'config.json'), '{}');
  await expect(openModelFolder(folder)).rejects.toMatchObject({ code: 'QRT_FILE', message: expect.stringContaining('model.safetensors') });
  await writeFile(join(folder, 'pytorch_model.bin'), 'x');
  await expect(openModelFolder(folder)).rejects.toMatchObject({ code: 'QRT_CHECKPOINT_FORMAT', message: expect.stringContaining('pickle') });
  await expect(openModelFolder(join(folder, 'config.json'))).rejects.toMatchObject({ code: 'QRT_FILE' });
});

test('saving again replaces the model and keeps the files of others', async () => {
  const path = join(root, 'again');
  await saveModelFolder(path, { config: { a: 1 }, parameters: weights('w'), tokenizer });
  await writeFile(join(path, 'notes.txt'), 'mine');
  await saveModelFolder(path, { config: { a: 2 }, parameters: weights('x', 'w'), dtype: 'float16', card: '# Card\n' });
  expect((await readdir(path)).sort()).toEqual(['README.md', 'config.json', 'model.safetensors', 'notes.txt']);
  const folder = await openModelFolder(path);
  expect(folder.config).toEqual({ a: 2 });
  expect(folder.parameters.get('w')?.dtype).toBe('float16');
  expect((await readdir(root)).filter((name) => name.endsWith('.tmp'))).toEqual([]);

  // Its own tensors may be saved over itself.
  await saveModelFolder(path, { config: folder.config, parameters: folder.parameters, dtype: 'float32' });
  const w = (await openModelFolder(path)).parameters.get('w');
  expect(w === undefined ? undefined : [...(await loadTensor(w)).data]).toEqual([2]);
});

test('a failed save leaves the old folder and nothing else', async () => {
  const path = join(root, 'kept');
  await saveModelFolder(path, { config: { a: 1 }, parameters: weights('w') });
  await expect(saveModelFolder(path, { config: { a: 2 }, parameters: weights('w'), tokenizer: join(root, 'none.json') })).rejects.toMatchObject({ code: 'QRT_FILE' });
  expect(JSON.parse(await readFile(join(path, 'config.json'), 'utf8'))).toEqual({ a: 1 });
  expect((await readdir(root)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});

test('a tokenizer file is copied with the documents beside it', async () => {
  await mkdir(join(root, 'tok'));
  await writeFile(join(root, 'tok/tokenizer.json'), JSON.stringify(tokenizer));
  await writeFile(join(root, 'tok/tokenizer_config.json'), JSON.stringify({ eos_token: { content: '</s>' }, padding_side: 'left' }));
  await saveModelFolder(join(root, 'copied'), { config: {}, parameters: weights('w'), tokenizer: join(root, 'tok/tokenizer.json') });
  const loaded = await loadTokenizer(join(root, 'copied'));
  expect(loaded.specials).toEqual({ eos: 2 });
  expect(loaded.paddingSide).toBe('left');
});
