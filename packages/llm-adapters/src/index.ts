// The list of models, and each of them
export { languageModels } from './plugins.ts';
export { bert, bertConfigSchema, bertMaskedLanguageModel } from './bert.ts';
export type { BertConfig, BertInputs, BertMaskedOutput } from './bert.ts';
export { BLIP_TEXT_DEFAULTS, default as blipText, blipTextConfigSchema, blipTextLogits } from './blip-text.ts';
export type { BlipTextConfig } from './blip-text.ts';
export { default as blipMatchingPlugin, blipMatching } from './blip-matching.ts';
export type { BlipMatching, BlipMatchingConfig } from './blip-matching.ts';
export { default as llama, llamaConfigSchema, llamaFamily } from './llama.ts';
export type { LlamaConfig } from './llama.ts';
export { default as gpt2, gpt2ConfigSchema, gpt2Family } from './gpt2.ts';
export type { Gpt2Config } from './gpt2.ts';
export { default as gptNeox, gptNeoxConfigSchema, gptNeoxFamily } from './gpt-neox.ts';
export type { GptNeoxConfig } from './gpt-neox.ts';
export { default as mistral, mistralConfigSchema, mistralFamily } from './mistral.ts';
export type { MistralConfig } from './mistral.ts';
export { default as qwen2, qwen2ConfigSchema, qwen2Family } from './qwen2.ts';
export type { Qwen2Config } from './qwen2.ts';
export { default as opt, optConfigSchema, optFamily } from './opt.ts';
export type { OptConfig } from './opt.ts';
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

// Generation: the two graphs, the loop, and what chooses tokens
export { decodeGraph, extendGraph, prefillGraph } from './generation/graphs.ts';
export type { PrefillGraphOptions } from './generation/graphs.ts';
export { GENERATE_MODULE, collect, generate, generateOn, generateProgram } from './generation/generate.ts';
export type { GenerateArgs, GenerateHooks, GeneratedEvent, GenerationEvent, TokenDeltaEvent } from './generation/generate.ts';
export type { DecodingExecutables, PromptFeeds } from './generation/decoder.ts';
export { fromGenerationConfig, resolveOptions, toGenerationConfig } from './generation/options.ts';
export type { GenerationOptions, ResolvedOptions } from './generation/options.ts';
export type { GeneratedSequence, RowProcessor, StopTest, Strategy, StrategyStep, TokenDelta } from './generation/strategy.ts';
export { seededRandom } from './generation/sample.ts';
export { logSoftmax, scoreProcessor, softmax } from './generation/logits.ts';
export type { ScoreProcessor } from './generation/logits.ts';
