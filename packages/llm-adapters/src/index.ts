// The list of models, and each of them
export { languageModels } from './plugins.ts';
export { default as llama, llamaConfigSchema, llamaFamily } from './llama.ts';
export type { LlamaConfig } from './llama.ts';
export { distanceBuckets, default as t5, t5ConfigSchema, t5Family } from './t5.ts';
export type { T5Config } from './t5.ts';

// What families are made of
export { decoderOnly, decoderOnlyHidden } from './decoder-only.ts';
export type { DecoderOnlyFamily, EmbeddedSequence, TrunkContext } from './decoder-only.ts';
export { encodePrompt, encoderDecoder } from './encoder-decoder.ts';
export type { DecoderContext, EncoderDecoderFamily } from './encoder-decoder.ts';
export { attend, causalMask, forget, paddingMask, remember } from './attention.ts';
export type { AttendOptions, Memory } from './attention.ts';
export { inverseFrequencies, rotate, rotation } from './rotary.ts';
export type { RopeConfig, RopeParameters, Rotation } from './rotary.ts';
export { specialTokens } from './special-tokens.ts';
export type { TokenConfig } from './special-tokens.ts';
