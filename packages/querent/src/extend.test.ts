/** Reading and writing in one graph, beside the two graphs that it takes the place of. */
import type { LanguageModelPlugin, TensorData } from '@querent/core';
import { int64 } from '@querent/core';
import { createOnnxEngine } from '@querent/engine-onnx';
import type { GeneratedSequence } from '@querent/llm-adapters';
import { collect, decodeGraph, extendGraph, generate, languageModels, prefillGraph } from '@querent/llm-adapters';
import { initialise, randomAt } from '@querent/training';
import { expect, test } from 'vitest';

const shared = { vocab_size: 40, hidden_size: 32, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 4, max_position_embeddings: 48 };
const CONFIGS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  llama: { ...shared, num_key_value_heads: 2 },
  mistral: { ...shared, num_key_value_heads: 2, sliding_window: 3 },
  qwen2: { ...shared, num_key_value_heads: 2 },
  opt: { vocab_size: 40, hidden_size: 32, word_embed_proj_dim: 32, ffn_dim: 24, num_hidden_layers: 2, num_attention_heads: 4, max_position_embeddings: 48 },
  gpt2: { vocab_size: 40, n_embd: 32, n_layer: 2, n_head: 4, n_positions: 48 },
  gpt_neox: { ...shared, rotary_pct: 0.5 },
};

const plugin = (name: string): LanguageModelPlugin => languageModels.find((model) => model.name === name) as LanguageModelPlugin; // in the list

/** Left-padded, and with queries of an image. */
const promptIds = int64([2, 4], [0, 0, 7, 9, 5, 6, 7, 8]);
const promptMask = int64([2, 4], [0, 0, 1, 1, 1, 1, 1, 1]);
const softPrompt: TensorData<'float32'> = { dtype: 'float32', shape: [2, 3, 32], data: Float32Array.from({ length: 192 }, (_, i) => Math.sin(i)) };

test('every decoder-only model can, and no encoder-decoder pretends to', () => {
  const able = languageModels.filter((model) => model.extend !== undefined).map(({ name }) => name);
  expect(able).toEqual(languageModels.filter((model) => model.architecture === 'decoder-only').map(({ name }) => name));
  expect(able.sort()).toEqual(Object.keys(CONFIGS).sort());
  expect(() => extendGraph(plugin('t5'), {})).toThrow(expect.objectContaining({ code: 'QRT_MODEL_UNSUPPORTED' }));
});

test.each(Object.keys(CONFIGS))('%s says what it says in two graphs, greedily and with beams, with an image, a text or both', async (name) => {
  const model = plugin(name);
  const config = { ...model.defaults, ...CONFIGS[name] };
  const both = extendGraph(model, config);
  const weights = initialise(both, [...both.parameters.keys()], randomAt(3, 0, 1));
  for (const [key, { data }] of weights) if (!/norm|ln_/i.test(key)) data.forEach((value, i) => (data[i] = value * 12));
  await using engine = createOnnxEngine({ threads: 1 });
  await using extend = await engine.compile(both, weights);
  await using decode = await engine.compile(decodeGraph(model, config), weights);
  for (const hasImage of [true, false]) {
    for (const hasText of [true, false]) {
      if (!hasImage && !hasText) continue;
      await using prefill = await engine.compile(prefillGraph(model, config, { softPrompt: hasImage, prompt: hasText }), weights);
      const prompt = { ...(hasImage ? { softPrompt } : {}), ...(hasText ? { promptIds, promptMask } : {}) };
      for (const numBeams of [1, 3]) {
        const args = { ...prompt, tokens: { ...model.specialTokens(config), pad: 0, eos: [] }, options: { maxNewTokens: 8, numBeams } };
        const one = flat(await collect(generate({ prefill: extend, decode: extend }, args)));
        const two = flat(await collect(generate({ prefill, decode }, args)));
        expect(one.map(({ ids }) => ids)).toEqual(two.map(({ ids }) => ids));
        one.forEach(({ score }, i) => expect(score).toBeCloseTo(two[i]!.score, 4));
      }
    }
  }
});

function flat(rows: readonly (readonly GeneratedSequence[])[]): readonly GeneratedSequence[] {
  return rows.flat();
}
