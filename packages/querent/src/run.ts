/** `querent/run`: pipelines as documents. */
export { runPipeline, stdoutFormat } from './run-document.ts';
export type { PipelineEvent, RunPipelineOptions } from './run-document.ts';
export { parsePipeline, pipelineSchema } from './pipeline-document.ts';
export type { DocumentRetry, DocumentSink, DocumentSource, DocumentStage, ParseOptions, PipelineDocument } from './pipeline-document.ts';
