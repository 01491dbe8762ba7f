// Tensors with bytes
export { BYTES_PER_ELEMENT, allocate, elementCount, float32, int64, isFileTensor, tensor, viewAs, zeros } from './tensor.ts';
export type { DType, DTypeArrays, FileTensor, ParameterData, ParameterSet, TensorData, TypedArray } from './tensor.ts';

// Errors
export { ERROR_CODES, QuerentError, isQuerentError } from './errors.ts';
export type { ErrorCode, QuerentErrorOptions } from './errors.ts';
export { errorsMarkdown } from './errors-markdown.ts';
export { runProgram } from './run-program.ts';

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
export type { BackendStatus, EnginePlugin } from './contracts/engine-plugin.ts';

// Contracts: what all plugins have in common
export { CONTRACT_VERSION } from './contracts/plugin.ts';
export type { JsonSchema, Plugin, PluginBase, PluginKind, PluginKinds } from './contracts/plugin.ts';

// Contracts: the three parts of a model
export type { EncoderBuildOptions, EncoderConfig, EncoderOutput, EncoderPlugin, OpenedEncoder, PreprocessorConfig } from './contracts/encoder.ts';
export type {
  Bridge,
  BridgeBuildOptions,
  BridgeConfig,
  BridgeContrast,
  BridgeEncoding,
  BridgePlugin,
  BridgeStart,
  BridgeText,
  KeyValues,
  MatchOptions,
} from './contracts/bridge.ts';
export type {
  DualEncoder,
  DualEncoderConfig,
  DualEncoderFamily,
  DualEncoderText,
  DualEncoderTextOutput,
  DualEncoderTextRules,
} from './contracts/dual-encoder.ts';
export type {
  CacheSpec,
  DecodeInputs,
  ExtendInputs,
  DecodeResult,
  LanguageModelLoss,
  LanguageModelLossOptions,
  LanguageModelPlugin,
  LanguageModelPrompt,
  LanguageModelTargets,
  PrefillResult,
  SpecialTokens,
} from './contracts/language-model.ts';
export { languageConfig } from './language-config.ts';

// Contracts: what people do with a model
export type { ImageSource, RawPixels } from './contracts/image.ts';
export type {
  AttendOptions,
  AttentionMap,
  ChatMessage,
  GenerateEvent,
  GenerateOptions,
  LoadedModel,
  ModelCallOptions,
  ModelCapability,
  Reranked,
  ScoreOptions,
} from './contracts/loaded-model.ts';
export type { TaskContext, TaskDelta, TaskPlugin } from './contracts/task.ts';
export type { ObjectiveInputs, ObjectiveOutput, ObjectivePlugin } from './contracts/objective.ts';
export type { DatasetOptions, DatasetPlugin, Sample } from './contracts/dataset.ts';
export type { Judged, MetricPlugin, MetricResult } from './contracts/metric.ts';
export type { StoreEntry, StoreHit, StoreOpenOptions, StorePlugin, StoreRow, StoreSearchOptions, StoreSpace, VectorStore } from './contracts/store.ts';

// Writing plugins
export {
  defineBridge,
  defineDataset,
  defineEncoder,
  defineEngine,
  defineLanguageModel,
  defineMetric,
  defineObjective,
  defineStore,
  defineTask,
} from './define.ts';
export type { Definition, SchemaTask } from './define.ts';
export type { SchemaType } from './schema-type.ts';

// Finding plugins: the composition root's
export { checkPlugin } from './di/check-plugin.ts';
export type { CheckPluginOptions, PluginOrigin } from './di/check-plugin.ts';
export { createRegistry } from './di/registry.ts';
export type { PluginRegistry, RegistryOptions } from './di/registry.ts';
export { PLUGIN_KINDS } from './di/tokens.ts';

// Configs: read, checked, explained
export { MAX_JSON_BYTES, compileSchema, findMistakes, parseJson, readJson, validate } from './config.ts';
export type { ConfigMistake, ReadJsonOptions, ValidateOptions } from './config.ts';
export { parseRecipe, recipeSchema } from './recipe.ts';
export type { PartConfig, Recipe } from './recipe.ts';
export { editDistance, nearest } from './nearest.ts';

// Flows: rxjs streams that pull
export { Flow, abortOn, flow, from, stage } from './flow/flow.ts';
export type { FlowOptions, FlowSource, OpenPull, Stage } from './flow/flow.ts';
export { FLOW_BUFFER } from './flow/pull.ts';
export type { Pull } from './flow/pull.ts';
export { mapBounded } from './flow/map-bounded.ts';
export type { MapBoundedOptions, MapContext } from './flow/map-bounded.ts';
export { asResults, mapResults } from './flow/map-results.ts';
export { failure, isFailure, success, valueOf } from './flow/result.ts';
export type { Failure, Result, Success } from './flow/result.ts';
export { isAborted, linkSignals, raceSignal, untilAborted } from './flow/cancel.ts';
export type { LinkedController } from './flow/cancel.ts';
export { batch, flatten } from './flow/batch.ts';
export type { BatchOptions } from './flow/batch.ts';
export { mapBatches } from './flow/map-batches.ts';
export type { MapBatchesOptions } from './flow/map-batches.ts';
export { throughStage } from './flow/through-stage.ts';
export type { Entry, ThroughStageOptions } from './flow/through-stage.ts';
export { answerDetails, isTransient, requestedWaitMs, retry, retryAfterMs, withRetries } from './flow/retry.ts';
export type { AnswerDetails, RetryOptions } from './flow/retry.ts';
export { joinCalls } from './flow/join-calls.ts';
export type { JoinCallsOptions, JoinedCall, JoinedCalls } from './flow/join-calls.ts';
export { createMetrics } from './flow/metrics.ts';
export type { Metrics, MetricsOptions, StageMetrics } from './flow/metrics.ts';
export { createMeter, withProgress } from './flow/progress.ts';
export type { Progress, ProgressEvent, ProgressMeter, ProgressOptions, WithProgressOptions } from './flow/progress.ts';

// Inner loops in WebAssembly
export { openKernel } from './wasm-kernel.ts';
export type { KernelMemory } from './wasm-kernel.ts';
