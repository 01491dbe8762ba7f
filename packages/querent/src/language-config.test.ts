import { isQuerentError, languageConfig } from '@querent/core';
import { languageModels, llama, mistral, opt, t5 } from '@querent/llm-adapters';
import { expect, test } from 'vitest';

const nothing = (): boolean => false;

test('every family can be built from a config that says nothing but its name: that of its class', () => {
  for (const plugin of languageModels) {
    const config = languageConfig(plugin, { model_type: plugin.name }, () => true, {});
    expect([plugin.name, plugin.width(config), plugin.vocabulary(config)]).toEqual([plugin.name, expect.any(Number), expect.any(Number)]);
    expect(plugin.width(config)).toBeGreaterThan(0);
  }
});

test('what the file says comes before what the class assumes, null included', () => {
  expect(languageConfig(opt, { hidden_size: 2560, vocab_size: 50304 }, nothing, {})).toMatchObject({ hidden_size: 2560, vocab_size: 50304, max_position_embeddings: 2048, eos_token_id: 2 });
  expect(languageConfig(mistral, { sliding_window: null }, nothing, {})).toMatchObject({ sliding_window: null, num_key_value_heads: 8 });
});

test('T5 that is untied by its config and has no head uses its embeddings, unscaled; with a head of its own it uses that', () => {
  const untied = { model_type: 't5', tie_word_embeddings: false };
  expect(languageConfig(t5, untied, nothing, {})).toMatchObject({ tie_word_embeddings: true, scale_decoder_outputs: false });
  expect(languageConfig(t5, untied, (name) => name === 'lm_head.weight', {})).toMatchObject(untied);
  expect(languageConfig(t5, { model_type: 't5' }, nothing, {})).not.toHaveProperty('scale_decoder_outputs');
});

test('what is no config is refused with its mistakes', () => {
  for (const given of [null, [], 'opt', { hidden_size: 'wide' }]) {
    try {
      languageConfig(llama, given, nothing, { what: 'text_config' });
      expect.unreachable();
    } catch (error) {
      expect(isQuerentError(error) && error.code).toBe('QRT_CONFIG_INVALID');
    }
  }
});
