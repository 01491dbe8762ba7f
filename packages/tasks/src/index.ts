// Tasks
export { default as caption, generateProperties, generatedTextSchema } from './caption.ts';
export type { CaptionInput, CaptionOutput, CaptionRequest } from './caption.ts';
export { default as match, similarities } from './match.ts';
export type { MatchInput, MatchOutput } from './match.ts';
export { default as embed } from './embed.ts';
export type { EmbedInput, EmbedOutput } from './embed.ts';

// Their steps, for writing another one
export { batching, bridged, encoded, generated, prepared } from './stages.ts';
export type { BatchedOptions, GeneratedText, PrepareOptions, PromptedRow, RowOptions } from './stages.ts';
export { assertImage, holdsImage, imageInputSchema } from './image-input.ts';
export { stack, unstack } from './tensors.ts';

// The list of plugins
export { default as taskPlugins } from './plugins.ts';
