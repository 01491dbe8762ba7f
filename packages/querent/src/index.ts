// The short way: a task over a model
export { pipeline } from './pipeline.ts';
export type { PipelineOptions, RunTaskOptions, TaskPipeline, TaskStreamEvent, TaskTypes } from './pipeline.ts';

// The composition root
export { createQuerent } from './create-querent.ts';
export type { LoadOptions, Querent, QuerentOptions } from './create-querent.ts';
export type { LoadProgress } from './load-progress.ts';
export { PRECISIONS } from './precision.ts';
export type { CalibrationOptions, EncoderPrecision } from './encoder-precision.ts';
export type { Precision } from './precision.ts';
export { precisionReport } from './precision-report.ts';
export type { PrecisionFigures, PrecisionReportOptions } from './precision-report.ts';
export { builtInPlugins } from './built-in-plugins.ts';
export type { RecipeObject } from './model-source.ts';
export { VisionLanguageModel } from './vision-language-model.ts';
export type { MatchCallOptions } from './vision-language-model.ts';
export { defaultModel } from './default-model.ts';

// Training
export { readRecipe, train } from './train.ts';
export type { TrainCallOptions } from './train.ts';
export type { Recipe, RecipeEvent } from '@querent/training';

// Flows, and the steps of a model as stages
export { from } from '@querent/core';
export type { ChatMessage, Flow, GenerateEvent, GenerateOptions, ImageSource, LoadedModel, Result, Stage, TaskDelta } from '@querent/core';
export { bridge, decode, encode, generate } from './stages.ts';
export type { DecodeStageOptions, GenerateStageOptions, ImageItem, ItemOutput } from './stages.ts';
export { task } from './task-stage.ts';
export type { OriginOf, OutputsOf, TaskStageOptions } from './task-stage.ts';
export { createMeter, createMetrics, isTransient, retry, withProgress } from '@querent/core';
export type { Metrics, Progress, ProgressEvent, RetryOptions, StageMetrics } from '@querent/core';

// Retrieval
export { createRetriever, folderStore, indexImages, locateImage, spaceOf } from '@querent/tasks';
export type { ImageToIndex, IndexEvent, IndexOptions, RetrieveInput, RetrieveOptions, RetrieveOutput, RetrieveQuery, Retrieved, Retriever, RetrieverOptions } from '@querent/tasks';

// Curating pairs of images and captions
export { contrastiveRanker, curateFile } from '@querent/tasks';
export type { CaptionRanker, CuratedCaption, CurateCounts, CurateEvent, CurateFileOptions, CurateInput, CurateOutput } from '@querent/tasks';

// Tasks and errors
export { similarities } from '@querent/tasks';
export type {
  AttendInput,
  AttendOutput,
  CaptionInput,
  CaptionOutput,
  ChatInput,
  ChatOutput,
  EmbedInput,
  EmbedOutput,
  InstructInput,
  InstructOutput,
  MatchInput,
  MatchOutput,
  VqaInput,
  VqaOutput,
} from '@querent/tasks';
export { isQuerentError, QuerentError } from '@querent/core';

// Plugins of other packages, by name
export { PLUGIN_KEYWORD, documentPluginsSchema, importPlugins, withDocumentPlugins } from './plugins.ts';
export type { ImportPluginsOptions, PluginDocument } from './plugins.ts';

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
} from '@querent/core';
