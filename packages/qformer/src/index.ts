// The bridges
export { default as qformerPlugin, qformer } from './qformer.ts';
export type { QFormer, QFormerPlugin } from './qformer.ts';
export { default as instructQformerPlugin, instructQformer } from './instruct-qformer.ts';
export type { InstructQFormer, InstructQFormerPlugin } from './instruct-qformer.ts';
export { INSTRUCT_QFORMER_DEFAULTS, QFORMER_DEFAULTS, QFORMER_TOP_LEVEL_KEYS, instructQformerConfigSchema, qformerConfigSchema } from './config.ts';
export type { QFormerConfig } from './config.ts';

// Beginning as BERT
export { bertParameterNames, bertStart, configFromBert, weightsFromBert } from './bert.ts';
export type { EmbeddingNames } from './bert.ts';

// Who sees whom
export { paddingMask, prefixCausalMask, queriesOnlyMask } from './masks.ts';

// The list of plugins
export { default as qformerPlugins } from './plugins.ts';
