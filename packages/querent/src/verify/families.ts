/** Families of language models whose logits of a whole sequence are compared, not only those of the labels. */
import type { DecoderOnlyFamily, EncoderDecoderFamily } from '@querent/llm-adapters';
import { llamaFamily, mistralFamily, optFamily, qwen2Family, t5Family } from '@querent/llm-adapters';

// A family reads its own config, which the plugin's schema has accepted: the types differ only in that.
const DECODERS: Readonly<Record<string, DecoderOnlyFamily<never>>> = {
  llama: llamaFamily,
  mistral: mistralFamily,
  opt: optFamily,
  qwen2: qwen2Family,
};
const ENCODER_DECODERS: Readonly<Record<string, EncoderDecoderFamily<never>>> = { t5: t5Family };

export function decoderFamily(name: string): DecoderOnlyFamily<unknown> | undefined {
  return DECODERS[name] as DecoderOnlyFamily<unknown> | undefined;
}

export function encoderDecoderFamily(name: string): EncoderDecoderFamily<unknown> | undefined {
  return ENCODER_DECODERS[name] as EncoderDecoderFamily<unknown> | undefined;
}
