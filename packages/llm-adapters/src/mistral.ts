/** Mistral (Jiang 2023; HF `MistralForCausalLM`): LLaMA whose tokens see themselves and the `sliding_window - 1` before them. */
import type { LanguageModelPlugin } from '@querent/core';
import { decoderOnly } from './decoder-only.ts';
import type { DecoderOnlyFamily } from './decoder-only.ts';
import type { LlamaConfig } from './llama.ts';
import { llamaConfigSchema, llamaFamily } from './llama.ts';

/** HF `MistralConfig`, as far as it is read. */
export interface MistralConfig extends LlamaConfig {
  /** null: every token sees all before it. */
  readonly sliding_window?: number | null;
}

export const mistralConfigSchema: Readonly<Record<string, unknown>> = {
  ...llamaConfigSchema,
  properties: {
    ...(llamaConfigSchema['properties'] as Readonly<Record<string, unknown>>), // a JSON Schema's properties
    sliding_window: { type: ['integer', 'null'], minimum: 1, description: 'Tokens that a token sees, itself included; null: all.' },
  },
};

/** The parts of Mistral. */
export const mistralFamily: DecoderOnlyFamily<MistralConfig> = {
  ...llamaFamily,
  name: 'mistral',
  configSchema: mistralConfigSchema,
  defaults: { vocab_size: 32000, hidden_size: 4096, intermediate_size: 14336, num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: 8, sliding_window: 4096, bos_token_id: 1, eos_token_id: 2 },
  window: (config) => config.sliding_window ?? undefined,
};

const mistral: LanguageModelPlugin<MistralConfig> = decoderOnly(mistralFamily);
export default mistral;
