// Conformance suites, a kind each: lists of named checks for any test runner
export { bridgeConformance, encoderConformance, languageModelConformance } from './model-parts.ts';
export type { PartTools } from './model-parts.ts';
export { datasetConformance, engineConformance, metricConformance, objectiveConformance, storeConformance, taskConformance } from './around.ts';
export type { ObjectiveTools, TaskTools } from './around.ts';
export type { ConformanceCheck, GraphTools } from './checks.ts';
