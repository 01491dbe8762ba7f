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
  window: (config) => config.sliding_window ?? undefined,
};

const mistral: LanguageModelPlugin<MistralConfig> = decoderOnly(mistralFamily);
export default mistral;
