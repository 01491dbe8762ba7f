// Weights: by reference into the file; written atomically.
export { readSafetensors, loadTensor, loadTensors, toFloat32, asFloat32 } from './safetensors.ts';
export type { SafetensorsFile } from './safetensors.ts';
export { writeSafetensors } from './safetensors-write.ts';
export type { StoredDType, WriteSafetensorsOptions } from './safetensors-write.ts';
export { readGguf } from './gguf.ts';
export type { GgufFile, GgufNumbers, GgufTensor, GgufValue } from './gguf.ts';
export { asNBits, decodeBlocks, decodeNBits, GGML_TYPES } from './gguf-blocks.ts';
export type { GgmlType, NBits } from './gguf-blocks.ts';
export { ggufModel, isGgufTensor, readGgufModel } from './gguf-model.ts';
export type { GgufArrangement, GgufFileTensor, GgufModel } from './gguf-model.ts';
export { hasGgufBlocks, loadGgufBlocks, loadGgufFloats, withoutGguf } from './gguf-load.ts';
export { dequantiseMatrix, quantiseMatrix } from './quantise.ts';
export type { QuantisedMatrix, QuantiseOptions } from './quantise.ts';
export { quantiseColumns } from './quantise-columns.ts';
export type { QuantiseColumnsOptions, QuantisedColumns } from './quantise-columns.ts';
export { derivedDocument, derivedDocuments } from './derived-document.ts';
export { derivedTensors, removeDerived } from './quantise-cache.ts';
export type { DerivedOptions, DerivedTensors } from './quantise-cache.ts';
export { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './float16.ts';

// Models.
export { compareParameters, matchParameters } from './checkpoint.ts';
export type { MatchedParameters, MatchOptions, MisshapedTensor, ParameterComparison } from './checkpoint.ts';
export { openModelFolder, PART_PREFIXES, resolveFrom } from './model-folder.ts';
export type { ModelFolder, ResolvedPart } from './model-folder.ts';
export { saveModelFolder } from './model-folder-save.ts';
export type { SaveModelOptions } from './model-folder-save.ts';

// The hub.
export { resolveModel } from './remote/repository.ts';
export type { ResolvedModel } from './remote/repository.ts';
export { parseRepoName } from './remote/repo-name.ts';
export type { RepoName } from './remote/repo-name.ts';
export { hubSettings } from './remote/settings.ts';
export type { DownloadEvent, HubOptions, HubSettings } from './remote/settings.ts';

// Text.
export { createTokenizer, loadTokenizer } from './tokenizer.ts';
export { createChatTemplate, loadChatTemplate } from './chat-template.ts';
export type { ChatTemplate } from './chat-template.ts';
export { padRows } from './pad-rows.ts';
export type { PaddedRows } from './pad-rows.ts';
export type { EncodeBatchOptions, EncodedBatch, EncodeOptions, Tokenizer } from './tokenizer.ts';
export type { SpecialTokens } from './tokenizer-specials.ts';
export { normalizeText, trainByteLevelBpe } from './tokenizer-train.ts';
export type { TrainBpeOptions } from './tokenizer-train.ts';
export type { TokenizerJson } from './tokenizer-json.ts';

// Files in general.
export { writeFileAtomic } from './file-write.ts';
export type { FileContent } from './file-write.ts';
export { fileError } from './file-error.ts';
export { isJsonObject, readJsonObject, readJsonObjectIfThere } from './json-file.ts';
export type { JsonObject } from './json-file.ts';
