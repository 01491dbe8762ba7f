/** The conformance suites that plugins of others are held to, on our own plugins; and that they find what is wrong. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConformanceCheck } from '@querent/core/testing';
import { bridgeConformance, encoderConformance, engineConformance, languageModelConformance, metricConformance, storeConformance, taskConformance } from '@querent/core/testing';
import type { Engine, LanguageModelPlugin } from '@querent/core';
import { vitPlugin } from '@querent/encoders';
import { createOnnxEngine, onnxruntime } from '@querent/engine-onnx';
import { ciderMetric } from '@querent/evaluation';
import { add, createGraph } from '@querent/graph';
import { languageModels, llama, t5 } from '@querent/llm-adapters';
import { qformerPlugin } from '@querent/qformer';
import { folderStore, taskPlugins } from '@querent/tasks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { picture, writeTinyModel } from '../test/tiny-models.ts';
import { createQuerent } from './create-querent.ts';
import type { Querent } from './create-querent.ts';
import type { VisionLanguageModel } from './vision-language-model.ts';

const engine: Engine = createOnnxEngine({ inPlace: true, threads: 1 });
let folder = '';
let querent: Querent;
let model: VisionLanguageModel;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-conformance-'));
  querent = await createQuerent({ inPlace: true, threads: 1 });
  model = await querent.load(await writeTinyModel(folder, 'llama'));
});
afterAll(async () => {
  await querent.dispose();
  await engine[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const VIT = { ...vitPlugin.defaults, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 16, image_size: 32, patch_size: 16 };
const QFORMER = {
  ...qformerPlugin.defaults, vocab_size: 40, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 24, encoder_hidden_size: 8, num_query_tokens: 4, max_position_embeddings: 16,
};
const SHARED = { vocab_size: 40, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 4, max_position_embeddings: 48, bos_token_id: 1, eos_token_id: 2, pad_token_id: 0 };
const LANGUAGE_MODELS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  llama: { ...SHARED, num_key_value_heads: 2 },
  mistral: { ...SHARED, num_key_value_heads: 2, sliding_window: 3 },
  qwen2: { ...SHARED, num_key_value_heads: 2 },
  gpt2: { vocab_size: 40, n_embd: 16, n_layer: 2, n_head: 4, n_positions: 48, eos_token_id: 2 },
  gpt_neox: { ...SHARED, rotary_pct: 0.5 },
  opt: { ...SHARED, word_embed_proj_dim: 16, ffn_dim: 24 },
  t5: { vocab_size: 40, d_model: 16, d_ff: 24, d_kv: 4, num_heads: 4, num_layers: 1, num_decoder_layers: 2, feed_forward_proj: 'gated-gelu', tie_word_embeddings: false, decoder_start_token_id: 0, eos_token_id: 1, pad_token_id: 0 },
};

async function complaints(checks: readonly ConformanceCheck[]): Promise<string[]> {
  const found: string[] = [];
  for (const { name, run } of checks) await run().catch((error: Error) => found.push(`${name}: ${error.message}`));
  return found;
}

describe('our own plugins keep what others are held to', () => {
  test('ViT', async () => expect(await complaints(encoderConformance(vitPlugin, { engine, createGraph, config: VIT }))).toEqual([]));
  test('the Q-Former', async () => expect(await complaints(bridgeConformance(qformerPlugin, { engine, createGraph, config: QFORMER, featureWidth: 8 }))).toEqual([]));
  test.each(Object.keys(LANGUAGE_MODELS))('%s', async (name) => {
    const plugin = languageModels.find((one) => one.name === name) as LanguageModelPlugin; // with the config of its own family
    expect(await complaints(languageModelConformance<unknown>(plugin, { engine, createGraph, config: { ...plugin.defaults, ...LANGUAGE_MODELS[name] } }))).toEqual([]);
  });
  test('caption', async () => {
    const inputs = [{ image: picture(200, 30, 30) }, { image: picture(10, 220, 40), prompt: 'a brown dog' }];
    const caption = taskPlugins.find((one) => one.name === 'caption')!;
    expect(await complaints(taskConformance(caption, { model, inputs, wrong: [{ image: picture(0, 0, 0), numBeams: 0 }] }))).toEqual([]);
  });
  test('CIDEr', async () => {
    const judged = [{ id: '1', prediction: 'a dog runs', reference: ['a dog runs fast'] }, { id: '2', prediction: 'a cat', reference: ['two men'] }];
    expect(await complaints(metricConformance(ciderMetric, { judged, config: undefined }))).toEqual([]);
  });
  test('ONNX Runtime', async () => expect(await complaints(engineConformance(onnxruntime, { createGraph, add }))).toEqual([]));
  test('the store in a folder', async () => expect(await complaints(storeConformance(folderStore, { location: join(folder, 'store') }))).toEqual([]));
});

describe('what is wrong is found', () => {
  test('an encoder whose width is another one, or whose parameters have no layer', async () => {
    const wide = { ...vitPlugin, width: () => 17, layerOf: () => 99 };
    expect(await complaints(encoderConformance(wide, { engine, createGraph, config: VIT }))).toEqual([
      expect.stringMatching(/every parameter has a layer: layerOf\(.*\) is 99; there are layers 0 to 3\./),
      expect.stringMatching(/lastHiddenState is \[2, 5, 16\]; patches and width say \[2, 5, 17\]\./),
    ]);
  });

  test.each([
    ['a decoder-only model that counts positions from somewhere else', { ...llama, decode: (g, inputs, config) => llama.decode(g, { ...inputs, positionIds: add(inputs.positionIds, 1) }, config) } satisfies typeof llama, 'llama', /logits after token 1: value \d+ of 40/],
    ['an encoder-decoder that forgets what it has said', { ...t5, decode: (g, inputs, config) => ({ ...t5.decode(g, inputs, config), present: new Map() }) } satisfies typeof t5, 't5', /logits after token 2: value \d+ of 40/],
  ])('%s', async (_, plugin, name, message) => {
    const found = await complaints(languageModelConformance(plugin as unknown as LanguageModelPlugin, { engine, createGraph, config: LANGUAGE_MODELS[name] })); // with its own family's config
    expect(found).toEqual([expect.stringMatching(message)]);
  });

  test('a task that says something else than its schema, and does not hear that it should stop', async () => {
    const task = { kind: 'task', name: 'deaf', contract: 1, input: {}, output: { type: 'object', required: ['text'] }, async *run() { yield { texts: [] }; } } as const;
    expect(await complaints(taskConformance(task, { model, inputs: [1] }))).toEqual([
      expect.stringMatching(/description is missing/),
      expect.stringMatching(/An output does not fit the output schema: {2}"text" is missing/),
      expect.stringMatching(/It went on/),
    ]);
  });
});
