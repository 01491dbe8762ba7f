/** The special ids of a HuggingFace config. */
import type { SpecialTokens } from '@querent/core';

/** Config keys that name special ids. */
export interface TokenConfig {
  readonly bos_token_id?: number | null;
  readonly eos_token_id?: number | readonly number[] | null;
  readonly pad_token_id?: number | null;
  readonly decoder_start_token_id?: number | null;
}

const id = { type: ['integer', 'null'], minimum: 0 };

/** Their JSON Schema. */
export const tokenProperties: Readonly<Record<string, unknown>> = {
  bos_token_id: { ...id, description: 'Begins a text.' },
  eos_token_id: {
    anyOf: [id, { type: 'array', items: { type: 'integer', minimum: 0 } }],
    description: 'Ends a text; several are allowed.',
  },
  pad_token_id: { ...id, description: 'Fills shorter rows of a batch.' },
  decoder_start_token_id: { ...id, description: 'Starts the decoder of an encoder-decoder.' },
};

/** What a config says of special ids. */
export function specialTokens(config: TokenConfig): SpecialTokens {
  const eos = config.eos_token_id ?? [];
  return {
    bos: config.bos_token_id ?? undefined,
    eos: typeof eos === 'number' ? [eos] : eos,
    pad: config.pad_token_id ?? undefined,
    decoderStart: config.decoder_start_token_id ?? config.pad_token_id ?? undefined,
  };
}
