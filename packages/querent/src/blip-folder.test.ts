/** The original BLIP through the same door as BLIP-2: loaded from its folder, text included. Each id of a fixture is a word (`w63`). */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TensorData } from '@querent/core';
import { loadTensors, readJsonObject, readSafetensors, toFloat32 } from '@querent/hub';
import { fromGenerationConfig } from '@querent/llm-adapters';
import { unstack } from '@querent/tasks';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GOLDENS } from '../test/tiny-models.ts';
import { blipConfigs } from './blip-folder.ts';
import { createQuerent } from './index.ts';

const [CLS, SEP] = [2, 3];
const WORDS = 160;

let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'querent-blip-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** A copy of a fixture with BERT's frame around texts of words. */
async function withTokenizer(name: string): Promise<string> {
  const path = join(root, name);
  await cp(join(GOLDENS, name), path, { recursive: true });
  const word = (id: number): string => (id === 0 ? '[PAD]' : id === CLS ? '[CLS]' : id === SEP ? '[SEP]' : `w${id}`);
  const special = (id: number): object => ({ SpecialToken: { id: word(id), type_id: 0 } });
  const framed = [special(CLS), { Sequence: { id: 'A', type_id: 0 } }, special(SEP)];
  const tokenizer = {
    version: '1.0',
    added_tokens: [0, CLS, SEP].map((id) => ({ id, content: word(id), special: true, single_word: false, lstrip: false, rstrip: false, normalized: false })),
    pre_tokenizer: { type: 'WhitespaceSplit' },
    post_processor: { type: 'TemplateProcessing', single: framed, pair: framed, special_tokens: Object.fromEntries([CLS, SEP].map((id) => [word(id), { id: word(id), ids: [id], tokens: [word(id)] }])) },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
    model: { type: 'WordPiece', unk_token: 'w1', continuing_subword_prefix: '##', max_input_chars_per_word: 20, vocab: Object.fromEntries(Array.from({ length: WORDS }, (_, id) => [word(id), id])) },
  };
  await writeFile(join(path, 'tokenizer.json'), JSON.stringify(tokenizer));
  return path;
}

const tensors = async (name: string, file: string): Promise<Map<string, TensorData>> => loadTensors((await readSafetensors(join(GOLDENS, name, `${file}.safetensors`))).tensors);

function sentences(ids: TensorData): string[] {
  const [rows = 0, width = 0] = ids.shape;
  return Array.from({ length: rows }, (_, row) =>
    Array.from(ids.data.slice(row * width, (row + 1) * width), Number)
      .filter((id) => ![0, CLS, SEP].includes(id))
      .map((id) => `w${id}`)
      .join(' '),
  );
}

interface Run {
  readonly name: string;
  readonly with_prompt: boolean;
  readonly options: Readonly<Record<string, unknown>>;
  readonly sequences: readonly (readonly number[])[];
}

test('a captioner writes what transformers writes: with a prompt, with beams, from nothing', async () => {
  await using querent = await createQuerent({ inPlace: true, threads: 1 });
  const model = await querent.load(await withTokenizer('blip-caption'));
  expect([...model.capabilities].sort()).toEqual(['bridge', 'encode', 'generate', 'score']);
  expect(model.extraTensors).toEqual([]);
  const inputs = await tensors('blip-caption', 'inputs');
  const notes = await readJsonObject(join(GOLDENS, 'blip-caption', 'expected.json'));
  const softPrompt = await model.bridge(await model.encode(unstack(await toFloat32(inputs.get('pixel_values')!))));
  const prompt = sentences(inputs.get('input_ids')!);
  const [batch, width] = inputs.get('input_ids')!.shape as [number, number];
  const runs = notes['generations'] as Run[]; // our own fixture
  expect(runs).toHaveLength(3);
  for (const run of runs) {
    const { numReturnSequences = 1, maxNewTokens = 12, numBeams = 1 } = fromGenerationConfig(run.options);
    const rows: number[][] = [];
    const options = { maxNewTokens, numBeams, ...(run.with_prompt ? { prompt } : {}) };
    for await (const event of model.generate(softPrompt, options)) if (event.type === 'text') rows[event.row] = [...event.tokenIds];
    const wanted = run.sequences.filter((_, i) => i % numReturnSequences === 0).map((ids) => {
      const text = ids.slice(run.with_prompt ? width - 1 : 1);
      const end = text.indexOf(Number(notes['sep_token_id']));
      return end < 0 ? text : text.slice(0, end + 1);
    });
    expect(rows, run.name).toEqual(wanted);
  }
  const [scores] = await model.score(softPrompt, ['w14 w147', 'w9 w9']);
  expect(batch).toBe(2);
  expect(scores![0]).toBeGreaterThan(scores![1]!); // its own caption of the first image, and another
});

test('a matcher says of each pair what transformers says, and compares unit vectors', async () => {
  await using querent = await createQuerent({ inPlace: true, threads: 1 });
  const model = await querent.load(await withTokenizer('blip-itm'));
  expect([...model.capabilities].sort()).toEqual(['bridge', 'embed', 'encode', 'match']);
  expect(model.extraTensors).toEqual([]);
  const [inputs, expected] = [await tensors('blip-itm', 'inputs'), await tensors('blip-itm', 'expected')];
  const features = await model.encode(unstack(await toFloat32(inputs.get('pixel_values')!)));
  const texts = sentences(inputs.get('input_ids')!);
  const logits = Array.from(expected.get('itm_logits')!.data, Number);
  const probabilities = await model.match(features, texts);
  texts.forEach((_, i) => expect(probabilities[i]).toBeCloseTo(1 / (1 + Math.exp(logits[2 * i]! - logits[2 * i + 1]!)), 4));
  const [images, vectors] = [await model.embedImages(features), await model.embedTexts(texts)];
  const shared = vectors.shape[1]!;
  const cosine = (image: number, text: number): number => {
    let sum = 0;
    for (let i = 0; i < shared; i++) sum += images.data[image * shared + i]! * vectors.data[text * shared + i]!;
    return sum;
  };
  const scores = Array.from(expected.get('itc_scores')!.data, Number);
  scores.forEach((score, i) => expect(cosine(Math.floor(i / texts.length), i % texts.length)).toBeCloseTo(score, 4));
});

test('a config that is silent has the values of the class, and the decoder looks at features of the tower\'s width', () => {
  const { vision_config, text_config } = blipConfigs({ model_type: 'blip', text_config: { num_attention_heads: 12 } });
  expect(vision_config).toEqual({ model_type: 'blip_vision_model' });
  expect(text_config).toMatchObject({ model_type: 'blip_text_model', num_attention_heads: 12, encoder_hidden_size: 768, vocab_size: 30524 });
  const large = blipConfigs({ vision_config: { hidden_size: 1024 }, text_config: { encoder_hidden_size: 768 } });
  expect(large.text_config['encoder_hidden_size']).toBe(1024);
});

test('a tensor that is missing is named as the model has it', async () => {
  const path = await withTokenizer('blip-itm');
  const config = JSON.parse(await readFile(join(path, 'config.json'), 'utf8')) as Record<string, unknown>; // our own fixture
  await writeFile(join(path, 'config.json'), JSON.stringify({ ...config, architectures: ['BlipForConditionalGeneration'] }));
  await using querent = await createQuerent({ inPlace: true, threads: 1 });
  await expect(querent.load(path)).rejects.toMatchObject({ code: 'QRT_CHECKPOINT_MISMATCH' });
});
