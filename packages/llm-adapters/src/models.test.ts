import { isQuerentError } from '@querent/core';
import { createGraph } from '@querent/graph';
import { describe, expect, it } from 'vitest';
import { decodeGraph, prefillGraph } from './generation/graphs.ts';
import { distanceBuckets, languageModels, llama } from './index.ts';
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
