/** Families of language models whose logits of a whole sequence are compared, not only those of the labels. */
import type { DecoderOnlyFamily, EncoderDecoderFamily } from '@querent/llm-adapters';
import { gpt2Family, gptNeoxFamily, llamaFamily, mistralFamily, optFamily, qwen2Family, t5Family } from '@querent/llm-adapters';

// A family reads its own config, which the plugin's schema has accepted: the types differ only in that.
const DECODERS: Readonly<Record<string, DecoderOnlyFamily<never>>> = {
  gpt2: gpt2Family,
  gpt_neox: gptNeoxFamily,
  llama: llamaFamily,
  mistral: mistralFamily,
  opt: optFamily,
  qwen2: qwen2Family,
};
const ENCODER_DECODERS: Readonly<Record<string, EncoderDecoderFamily<unknown>>> = { t5: t5Family };

/**
 * Families whose `forward` without `position_ids` counts positions from the mask. The others count columns, padding included, as
 * nothing does when it generates: for rotary models the two agree, for GPT-2 they do not.
 */
const COUNTS_FROM_MASK: ReadonlySet<string> = new Set(['opt']);

export function decoderFamily(name: string): DecoderOnlyFamily<unknown> | undefined {
  return DECODERS[name] as DecoderOnlyFamily<unknown> | undefined;
}

export function encoderDecoderFamily(name: string): EncoderDecoderFamily<unknown> | undefined {
  return ENCODER_DECODERS[name];
}

/** How a model's `forward` numbers the tokens of a padded batch when it is not told. */
export function forwardPositions(name: string): 'mask' | 'columns' {
  return COUNTS_FROM_MASK.has(name) ? 'mask' : 'columns';
}
