// Tasks
export { default as caption } from './caption.ts';
export type { CaptionInput, CaptionOutput, CaptionRequest } from './caption.ts';
export { default as vqa, vqaPrompt } from './vqa.ts';
export type { VqaInput, VqaOutput } from './vqa.ts';
export { default as instruct } from './instruct.ts';
export type { InstructInput, InstructOutput } from './instruct.ts';
export { default as chat, plainPrompt } from './chat.ts';
export type { ChatInput, ChatOutput } from './chat.ts';
export { default as match, similarities } from './match.ts';
export type { MatchInput, MatchOutput } from './match.ts';
export { default as embed } from './embed.ts';
export type { EmbedInput, EmbedOutput } from './embed.ts';
export { default as attend } from './attend.ts';
export type { AttendInput, AttendOutput, AttendRequest, PatchWeights } from './attend.ts';

export { default as retrieve, locateImage } from './retrieve.ts';
export type { RetrieveInput, RetrieveOutput } from './retrieve.ts';
export { default as curate, contrastiveRanker, distinctCaptions } from './curate.ts';
export type { CaptionRanker, CuratedCaption, CurateInput, CurateOutput } from './curate.ts';
export { curateFile } from './curate/curate-file.ts';
export type { CurateCounts, CurateEvent, CurateFileOptions } from './curate/curate-file.ts';

// Retrieval over any store
export { createRetriever, spaceOf } from './retriever.ts';
export type { RetrieveOptions, RetrieveQuery, Retrieved, Retriever, RetrieverOptions } from './retriever.ts';
export { indexImages } from './index-images.ts';
export type { ImageToIndex, IndexEvent, IndexOptions } from './index-images.ts';
export { default as folderStore } from './index-store/index-store.ts';
export { assertSpace, assertVectors } from './index-store/space.ts';

// Their steps, for writing another one
export { batching, bestOf, bridged, encoded, generateRows, generated, instructed, prepared, seen } from './stages.ts';
export type { BatchedOptions, GeneratedText, InstructedRow, OneText, PrepareOptions, PromptedRow, RowOptions } from './stages.ts';
export { rankRows, ranked, ranking } from './rank.ts';
export type { CandidateRow, RankedText } from './rank.ts';
export { softPromptOf, written } from './written.ts';
export { generateProperties, generatedTextSchema } from './generate-schema.ts';
export { assertImage, holdsImage, imageInputSchema } from './image-input.ts';
export { stack, stackInTurns, unstack } from './tensors.ts';

// The list of plugins
export { default as taskPlugins } from './plugins.ts';
export { default as storePlugins } from './store-plugins.ts';
