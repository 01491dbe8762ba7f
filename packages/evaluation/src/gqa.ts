/** GQA's questions (cs.stanford.edu/people/dorarad/gqa): `{ ID: { imageId, question, answer, types } }`, one answer each, right or wrong. */
import { filenameOf, isRecord, refuseQuestions, textOf } from './vqa-rows.ts';
import type { VqaQuestion } from './vqa-rows.ts';

/** @throws QuerentError QRT_DATASET naming the question that is unusable. */
export function gqaQuestions(document: Readonly<Record<string, unknown>>, source: string): VqaQuestion[] {
  return Object.entries(document).map(([id, row]) => {
    const at = `/${id}`;
    if (!isRecord(row)) return refuseQuestions(source, at, 'a question of GQA is an object with imageId, question and answer.');
    const types: unknown = row['types'];
    const structural = isRecord(types) ? types['structural'] : undefined;
    return {
      id,
      filename: filenameOf(`${textOf(row['imageId'], source, `${at}/imageId`)}.jpg`, source, `${at}/imageId`),
      question: textOf(row['question'], source, `${at}/question`),
      answers: [textOf(row['answer'], source, `${at}/answer`)],
      ...(typeof structural === 'string' ? { questionType: structural } : {}),
    };
  });
}
