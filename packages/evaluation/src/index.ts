// Captions: all scores in one call
export { evaluateCaptions, scoreCaptions } from './evaluate-captions.ts';
export type { CaptionFigures, CaptionScores } from './evaluate-captions.ts';

// Captions: the scores over tokens
export { bleu } from './bleu.ts';
export type { BleuScores } from './bleu.ts';
export { rougeL } from './rouge.ts';
export type { RougeScores } from './rouge.ts';
export { cider, createCiderScorer } from './cider.ts';
export type { CiderScorer, CiderScores } from './cider.ts';
export { meteor } from './meteor.ts';
export type { MeteorScores } from './meteor.ts';
export { locateMeteorData, readMeteorData } from './meteor-data.ts';
export type { MeteorData } from './meteor-data.ts';
export { createSynonyms } from './meteor-synonyms.ts';
export type { MeteorResources, Paraphrases, Synonyms } from './meteor-match.ts';
export { ptbTokenize, ptbTokenizeAll } from './ptb-tokenizer.ts';

// Captions: the scores as plugins
export { bleuMetric, ciderMetric, meteorMetric, rougeMetric } from './metrics.ts';

// Retrieval
export { recallAtK } from './recall.ts';
export type { RecallFigures, RetrievalFigures, SimilarityMatrix } from './recall.ts';

// Annotations
export { parseCaptionDataset, readCaptionDataset } from './caption-dataset.ts';
export type { CaptionDatasetOptions, CaptionSentence, CaptionedImage } from './caption-dataset.ts';

// Visual question answering
export { evaluateVqa, vqaAccuracy, vqaMetric } from './vqa.ts';
export type { VqaFigures } from './vqa.ts';
export { normaliseAnswer, normalisePunctuation } from './vqa-normalise.ts';
export { parseVqaDataset } from './vqa-dataset.ts';
export type { VqaQuestion } from './vqa-rows.ts';

// NoCaps
export { NOCAPS_DOMAINS, evaluateNocaps, parseNocaps, readNocaps } from './nocaps.ts';
export type { NocapsDomain } from './nocaps.ts';
