// Scoring models on annotated sets
export { captionImages, evaluateCaptionModel } from './captions.ts';
export type { CaptionEvaluation, EvaluateOptions, EvaluateProgress } from './captions.ts';
export { evaluateRetrievalModel } from './retrieval.ts';
export type { RetrievalEvaluation, RetrievalOptions } from './retrieval.ts';
export { locateMeteorData, readCaptionDataset } from '@querent/evaluation';
export type { CaptionedImage } from '@querent/evaluation';
export { evaluateVqaModel } from './vqa.ts';
export type { VqaEvaluation } from './vqa.ts';
export { heldOutQuestions, questionsOfFile } from './questions.ts';
export type { AskedQuestions, QuestionFileOptions } from './questions.ts';
export { evaluateNocaps, readNocaps } from '@querent/evaluation';
export type { VqaQuestion } from '@querent/evaluation';
