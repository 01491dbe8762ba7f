/** Qwen2 (Yang 2024; HF `Qwen2ForCausalLM`): LLaMA with biases on queries, keys and values. Sliding windows per layer are not read. */
import type { LanguageModelPlugin } from '@querent/core';
import { QuerentError } from '@querent/core';
import { decoderOnly } from './decoder-only.ts';
import type { DecoderOnlyFamily } from './decoder-only.ts';
import type { LlamaConfig } from './llama.ts';
import { llamaConfigSchema, llamaFamily } from './llama.ts';

/** HF `Qwen2Config`, as far as it is read. */
export interface Qwen2Config extends LlamaConfig {
  readonly use_sliding_window?: boolean;
}

export const qwen2ConfigSchema: Readonly<Record<string, unknown>> = {
  ...llamaConfigSchema,
  properties: {
    ...(llamaConfigSchema['properties'] as Readonly<Record<string, unknown>>), // a JSON Schema's properties
    use_sliding_window: { type: 'boolean', description: 'Must be false, as it is in the published models.' },
  },
};

/** The parts of Qwen2. */
export const qwen2Family: DecoderOnlyFamily<Qwen2Config> = {
  ...llamaFamily,
  name: 'qwen2',
  configSchema: qwen2ConfigSchema,
  defaults: { vocab_size: 151936, hidden_size: 4096, intermediate_size: 22016, num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: 32 },
  trunk(g, x, context, config) {
    if (config.use_sliding_window === true) {
      throw new QuerentError('QRT_CONFIG_INVALID', 'use_sliding_window is true: Qwen2 with windows in some of its layers is not read.', { fix: 'Set it to false if texts are shorter than the window.' });
    }
    return llamaFamily.trunk(g, x, context, { ...config, qkv_bias: true });
  },
};

const qwen2: LanguageModelPlugin<Qwen2Config> = decoderOnly(qwen2Family);
export default qwen2;
