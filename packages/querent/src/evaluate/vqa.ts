/** Answers to the questions of a set, scored: what `querent evaluate vqa` prints. */
import { join } from 'node:path';
import type { LoadedModel } from '@querent/core';
import { evaluateVqa } from '@querent/evaluation';
import type { VqaFigures, VqaQuestion } from '@querent/evaluation';
import { pipeline } from '../pipeline.ts';
import type { EvaluateOptions } from './captions.ts';

/** The figures, and how fast it went: decoding, encoding and answering together. */
export interface VqaEvaluation extends VqaFigures {
  readonly questionsPerSecond: number;
}

/**
 * Answers every question with the task vqa and scores the answers.
 *
 * @param imageFolder the folder that the images' file names are relative to
 * @param how options of all answers, for instance `{ numBeams: 5 }` or `{ candidates }`
 */
export async function evaluateVqaModel(
  model: LoadedModel,
  questions: readonly VqaQuestion[],
  imageFolder: string,
  how: Readonly<Record<string, unknown>> = {},
  options: EvaluateOptions & { readonly onAnswer?: (question: VqaQuestion, answer: string) => void } = {},
): Promise<VqaEvaluation> {
  await using ask = await pipeline('vqa', { model });
  const answers = new Map<string, string>();
  const started = performance.now();
  const requests = questions.map(({ filename, question }) => ({ ...how, image: join(imageFolder, filename), question }));
  let done = 0;
  for await (const { text, error } of ask(requests, options.signal === undefined ? {} : { signal: options.signal })) {
    const question = questions[done++]!; // a flow keeps the order, one result a request
    if (error !== undefined) options.onImageError?.(question.filename, error);
    answers.set(question.id, text ?? '');
    options.onAnswer?.(question, text ?? '');
    options.onProgress?.({ what: 'answers', done, total: questions.length });
  }
  options.signal?.throwIfAborted();
  return { ...evaluateVqa(answers, questions), questionsPerSecond: (1000 * questions.length) / (performance.now() - started) };
}
