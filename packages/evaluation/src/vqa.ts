/**
 * VQA accuracy as VQAv2 defines it: an answer counts min(n / 3, 1) where n of the others gave it, averaged over leaving each of the
 * ten people out in turn. GQA's and DAQUAR's questions have one answer: there an answer is right or wrong.
 */
import { QuerentError, defineMetric } from '@querent/core';
import type { MetricPlugin, MetricResult } from '@querent/core';
import { normaliseAnswer, normalisePunctuation } from './vqa-normalise.ts';
import type { VqaQuestion } from './vqa-rows.ts';

/** Figures of a set, in percent. */
export interface VqaFigures {
  readonly accuracy: number;
  /** `yes/no`, `number`, `other`, where the set says so. */
  readonly perAnswerType: Readonly<Record<string, number>>;
  readonly perQuestionType: Readonly<Record<string, number>>;
  readonly questions: number;
}

/**
 * How right one answer is, in [0, 1].
 *
 * @param answers what people said: several for VQAv2's rule, one for right or wrong
 * @throws QuerentError QRT_USAGE when nobody has answered.
 */
export function vqaAccuracy(prediction: string, answers: readonly string[]): number {
  const given = normaliseAnswer(prediction);
  const [first] = answers;
  if (first === undefined) throw new QuerentError('QRT_USAGE', 'A question without answers cannot be scored.', { fix: 'Give at least one answer; VQAv2 has ten.' });
  if (answers.length === 1) return given === normaliseAnswer(first) ? 1 : 0;
  const isUnanimous = answers.every((answer) => answer === first);
  const references = isUnanimous ? answers : answers.map(normalisePunctuation);
  const matches = references.filter((reference) => reference === given).length;
  const withoutOne = (answer: string): number => Math.min(1, (matches - (answer === given ? 1 : 0)) / 3);
  return references.reduce((sum, answer) => sum + withoutOne(answer), 0) / references.length;
}

/**
 * Accuracy over a set, and by the types that it names. A question that was not answered counts as wrong.
 *
 * @param predictions question id → answer
 * @throws QuerentError QRT_USAGE when there are no questions.
 */
export function evaluateVqa(predictions: ReadonlyMap<string, string>, questions: readonly VqaQuestion[]): VqaFigures {
  if (questions.length === 0) throw new QuerentError('QRT_USAGE', 'There are no questions to score.', { fix: 'Give at least one.' });
  const all: number[] = [];
  const byAnswer = new Map<string, number[]>();
  const byQuestion = new Map<string, number[]>();
  for (const { id, answers, answerType, questionType } of questions) {
    const score = vqaAccuracy(predictions.get(id) ?? '', answers);
    all.push(score);
    for (const [groups, type] of [[byAnswer, answerType], [byQuestion, questionType]] as const) if (type !== undefined) groups.set(type, [...(groups.get(type) ?? []), score]);
  }
  const percents = (groups: ReadonlyMap<string, readonly number[]>): Record<string, number> => Object.fromEntries([...groups].map(([type, scores]) => [type, percent(scores)]));
  return { accuracy: percent(all), perAnswerType: percents(byAnswer), perQuestionType: percents(byQuestion), questions: questions.length };
}

function percent(scores: readonly number[]): number {
  return (100 * scores.reduce((sum, score) => sum + score, 0)) / scores.length;
}

/** VQA accuracy as a plugin: a prediction against everybody's answers. */
export const vqaMetric: MetricPlugin = defineMetric({
  name: 'VQA_accuracy',
  description: 'VQAv2 accuracy in percent: leave one out, min(n / 3, 1).',
  evaluate(judged): MetricResult {
    const each = Float64Array.from(judged, ({ prediction, reference }) => 100 * vqaAccuracy(prediction, reference));
    if (each.length === 0) throw new QuerentError('QRT_USAGE', 'There is nothing to judge.', { fix: 'Give at least one answer.' });
    return { figures: { VQA_accuracy: each.reduce((sum, one) => sum + one, 0) / each.length }, each: { VQA_accuracy: each } };
  },
});
