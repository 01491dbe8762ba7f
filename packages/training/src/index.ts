// A recipe, from JSON to a trained folder
export { trainRecipe } from './train-recipe.ts';
export type { Recipe, RecipeEvent, TrainRecipeOptions, TrainingPlugins } from './train-recipe.ts';
export { trainingFlow } from './training-flow.ts';
export { recipeSchemas } from './recipes/schemas.ts';
export type { LanguageModelRecipe } from './recipes/language-model.ts';
export type { CaptionSampler, SelfCriticalHooks } from './recipes/scst.ts';
export type { BridgeRecipe, SelfCriticalRecipe, Stage1Recipe, Stage2Recipe } from './recipes/bridge-recipe.ts';
export type { DistilRecipe } from './recipes/distil.ts';
export type { FinetuneRecipe } from './recipes/finetune.ts';
export type { VqaRecipe } from './recipes/vqa.ts';
export type { TokenizerRecipe } from './recipes/tokenizer.ts';

// The loop and its parts, for those who bring their own graph
export { train } from './train.ts';
export type { Batch, TrainEvent, TrainOptions, TrainedModel } from './train.ts';
export { gradientOutputs, initialise, trainingGraph } from './training-graph.ts';
export type { TrainingGraph } from './training-graph.ts';
export { ADAMW_DEFAULTS, AdamW } from './adamw.ts';
export type { AdamWOptions } from './adamw.ts';
export { accumulate, clipGlobalNorm, doesDecay, globalNorm, trainedParameter } from './optimisers.ts';
export type { Moments, TrainedParameter } from './optimisers.ts';
export { learningRateAt, perEpoch } from './schedules.ts';
export type { ConstantSchedule, PerEpochSchedule, PerStepSchedule, Schedule } from './schedules.ts';
export { loadCheckpoint, saveCheckpoint } from './checkpoint.ts';
export type { Checkpoint, CheckpointState, HistoryPoint } from './checkpoint.ts';
export { reportHtml } from './report.ts';

// Losses as graphs
export { stage1 } from './objectives/stage1.ts';
export type { Stage1Inputs, Stage1Losses, Stage1Options, Stage1Weights } from './objectives/stage1.ts';
export { itc, sameImage } from './objectives/itc.ts';
export type { Itc, ItcInputs } from './objectives/itc.ts';
export { drawHardNegatives, itm } from './objectives/itm.ts';
export type { HardNegatives } from './objectives/itm.ts';
export { itg } from './objectives/itg.ts';
export { channelStatistics, distillation } from './objectives/distillation.ts';
export type { ChannelStatistics, Distillation, DistillationWeights } from './objectives/distillation.ts';

// Data
export { readAnnotations } from './data/annotations.ts';
export type { AnnotatedImage } from './data/annotations.ts';
export { readQuestions } from './data/vqa.ts';
export type { AnsweredQuestion, QuestionSet, QuestionSource, ReadQuestionsOptions } from './data/vqa.ts';
export { createBatchPlan, mixSeed, randomAt } from './data/batches.ts';
export type { BatchPlan, BatchPlanOptions } from './data/batches.ts';
export { openFeatureCache } from './data/feature-cache.ts';
export type { FeatureCache, FeatureCacheOptions } from './data/feature-cache.ts';

// How fast it is
export { BENCH_TRAIN_SHAPES, benchTrain } from './bench-train.ts';
export type { BenchTrainOptions, BenchTrainRatio, BenchTrainResult, BenchTrainRun, BenchTrainShape } from './bench-train.ts';
