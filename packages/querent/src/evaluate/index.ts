// Scoring models on annotated sets
export { evaluateCaptionModel } from './captions.ts';
export type { CaptionEvaluation, EvaluateOptions, EvaluateProgress } from './captions.ts';
export { evaluateRetrievalModel } from './retrieval.ts';
export type { RetrievalEvaluation, RetrievalOptions } from './retrieval.ts';
export { readCaptionDataset } from '@querent/evaluation';
export type { CaptionedImage } from '@querent/evaluation';
