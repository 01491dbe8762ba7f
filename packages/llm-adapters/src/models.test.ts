import { isQuerentError } from '@querent/core';
import { createGraph, printGraph } from '@querent/graph';
import { describe, expect, it } from 'vitest';
import { decodeGraph, prefillGraph } from './generation/graphs.ts';
import { activation } from './activation.ts';
import type { BlipTextConfig } from './blip-text.ts';
import type { GptNeoxConfig } from './gpt-neox.ts';
import { blipText, distanceBuckets, gptNeox, languageModels, llama } from './index.ts';
import type { LlamaConfig } from './llama.ts';
import { inverseFrequencies } from './rotary.ts';

const config: LlamaConfig = { vocab_size: 50, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2 };

describe('language models', () => {
  it('have distinct names and keep the contract', () => {
    expect(new Set(languageModels.map((model) => model.name)).size).toBe(languageModels.length);
    for (const model of languageModels) expect([model.kind, model.contract, typeof model.configSchema]).toEqual(['language-model', 1, 'object']);
  });

  it('declare the parameters of a checkpoint under its prefix, the same in both decoding graphs', () => {
    const prefill = prefillGraph(llama, config, { prefix: 'language_model' });
    const decode = decodeGraph(llama, config, { prefix: 'language_model' });
    expect([...decode.parameters.keys()].sort()).toEqual([...prefill.parameters.keys()].sort());
    expect(decode.parameters.get('language_model.model.layers.1.self_attn.k_proj.weight')?.shape).toEqual([8, 16]);
  });

  it('give each cache one past and one present of the same shape', () => {
    const decode = decodeGraph(llama, config);
    for (const { name, heads, headWidth } of llama.caches(config)) {
      const past = decode.inputs.find((input) => input.name === `past_key_values.${name}`);
      expect(past?.shape).toEqual(['batch', heads, 'cache', headWidth]);
      expect(decode.outputs.get(`present.${name}`)?.shape).toEqual(past?.shape);
    }
  });

  it('refuse to speak about nothing', () => {
    const g = createGraph('empty');
    try {
      llama.loss(g, { labels: g.input('labels', 'int64', ['batch', 'labels']) }, config);
      expect.unreachable();
    } catch (error) {
      expect(isQuerentError(error) && error.code).toBe('QRT_USAGE');
    }
  });

  it('tie the head to the embedding only where the config says so', () => {
    const names = (tied: boolean): string[] => [...prefillGraph(llama, { ...config, tie_word_embeddings: tied }).parameters.keys()];
    expect(names(false)).toContain('lm_head.weight');
    expect(names(true)).not.toContain('lm_head.weight');
  });
});

describe('GPT-NeoX', () => {
  const neox: GptNeoxConfig = { vocab_size: 50, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 1, num_attention_heads: 4 };

  /** What the two norms of the first layer read. */
  function normed(given: Partial<GptNeoxConfig>): readonly (string | undefined)[] {
    const { nodes, parameters } = prefillGraph(gptNeox, { ...neox, ...given });
    return ['input_layernorm', 'post_attention_layernorm'].map((norm) => {
      const weight = parameters.get(`gpt_neox.layers.0.${norm}.weight`)?.tensor.name;
      return nodes.find((node) => node.inputs.some((tensor) => tensor?.name === weight))?.inputs[0]?.name;
    });
  }

  it('reads one residual twice, or the sum after attention where the config says so', () => {
    const [before, beside] = normed({});
    expect(beside).toBe(before);
    const [first, after] = normed({ use_parallel_residual: false });
    expect(after).not.toBe(first);
  });

  it('is the same graph in both spellings of the config', () => {
    const graph = (given: Partial<GptNeoxConfig>): string => printGraph(prefillGraph(gptNeox, { ...neox, ...given }));
    const published = graph({ rotary_pct: 0.5, rotary_emb_base: 500 });
    expect(graph({ rope_parameters: { partial_rotary_factor: 0.5, rope_theta: 500, rope_type: 'default' } })).toBe(published);
    expect(graph({ rotary_pct: 1, rotary_emb_base: 500 })).not.toBe(published);
  });

  it('refuses to rotate half a pair', () => {
    for (const rotary_pct of [0.1, 0.4]) expect(() => prefillGraph(gptNeox, { ...neox, rotary_pct })).toThrow(/pairs of channels/);
  });
});

describe("BLIP's decoder", () => {
  const blip: BlipTextConfig = { vocab_size: 50, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 24, max_position_embeddings: 20, encoder_hidden_size: 12, bos_token_id: 48, sep_token_id: 3 };

  it('begins with its own token and goes on where the tokenizer would end', () => {
    expect(blipText.framePrompt?.([2, 7, 8, 3], blip)).toEqual([48, 7, 8]);
    expect(blipText.framePrompt?.([2, 3], blip)).toEqual([48]);
    expect(blipText.framePrompt?.([], blip)).toEqual([48]);
    expect(blipText.specialTokens(blip)).toEqual({ bos: 48, eos: [3], pad: 0, decoderStart: 48 });
  });

  it('reads a prompt in its prefill, and begins with a start token where there is none', () => {
    const names = (prompt: boolean): string[] => [...prefillGraph(blipText, blip, { prompt }).outputs.keys()];
    expect(names(true)).toEqual(expect.arrayContaining(['logits', 'present.0.decoder.key', 'present.0.encoder.key']));
    expect(names(false)).toEqual(['present.0.encoder.key', 'present.0.encoder.value']);
  });

  it('refuses to caption nothing', () => {
    expect(() => prefillGraph(blipText, blip, { softPrompt: false })).toThrow(/no image/);
  });
});

describe('activations', () => {
  it('are refused by name', () => {
    const g = createGraph('activation');
    expect(() => activation('snake', g.input('x', 'float32', [1]))).toThrow(/snake/);
  });
});

describe('positions', () => {
  it('rotate at the same rate in both spellings of the config', () => {
    expect(inverseFrequencies(8, { rope_theta: 500 })).toEqual(inverseFrequencies(8, { rope_parameters: { rope_theta: 500, rope_type: 'default' } }));
  });

  it('slow down low frequencies only, as LLaMA 3 does', () => {
    const plain = inverseFrequencies(64, { rope_theta: 500000 });
    const scaled = inverseFrequencies(64, {
      rope_theta: 500000,
      rope_scaling: { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 },
    });
    expect(scaled[0]).toBe(plain[0]);
    expect(scaled.at(-1)).toBeCloseTo(plain.at(-1)! / 8, 12);
  });

  it('refuse a scaling that is not known', () => {
    expect(() => inverseFrequencies(8, { rope_scaling: { type: 'yarn' } })).toThrow(/yarn/);
  });

  it('share buckets of T5 beyond half of them, and one from the longest distance on', () => {
    const buckets = distanceBuckets(16, 128);
    expect(buckets.slice(0, 9)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(buckets.at(-1)).toBe(15);
    expect(buckets.every((bucket, i) => i === 0 || bucket >= buckets[i - 1]!)).toBe(true);
  });
});
