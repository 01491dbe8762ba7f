// Tensors with bytes
export { BYTES_PER_ELEMENT, allocate, elementCount, float32, int64, isFileTensor, tensor, viewAs, zeros } from './tensor.ts';
export type { DType, DTypeArrays, FileTensor, ParameterData, ParameterSet, TensorData, TypedArray } from './tensor.ts';

// Errors
export { ERROR_CODES, QuerentError, isQuerentError } from './errors.ts';
export type { ErrorCode, QuerentErrorOptions } from './errors.ts';

// Contracts: graphs
export type {
  Attribute,
  Dim,
  Graph,
  GraphParameter,
  GraphScope,
  Initialiser,
  Node,
  ParameterOptions,
  Scope,
  Shape,
  Tensor,
} from './contracts/graph.ts';

// Contracts: engines
export type {
  CompileOptions,
  Engine,
  EngineOptions,
  Executable,
  PortInfo,
  Program,
  ProgramContext,
  ProgramOptions,
  RunOptions,
} from './contracts/engine.ts';

// Contracts: language models
export type {
  CacheSpec,
  DecodeInputs,
  DecodeResult,
  LanguageModelLoss,
  LanguageModelLossOptions,
  LanguageModelPlugin,
  LanguageModelPrompt,
  LanguageModelTargets,
  PrefillResult,
  SpecialTokens,
} from './contracts/language-model.ts';

// Contracts: encoders and bridges
export type { EncoderBuildOptions, EncoderConfig, EncoderOutput, EncoderPlugin, PreprocessorConfig } from './contracts/encoder.ts';
export type {
  Bridge,
  BridgeBuildOptions,
  BridgeConfig,
  BridgeContrast,
  BridgeEncoding,
  BridgePlugin,
  BridgeText,
  KeyValues,
  MatchOptions,
} from './contracts/bridge.ts';
