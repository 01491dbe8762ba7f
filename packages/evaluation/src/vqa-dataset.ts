/**
 * Questions about images, from documents as the sets are published: VQAv2 and OK-VQA (questions and annotations), GQA (one object, keyed
 * by question), and plain lists (`[{ image, question, answer | answers }]`, as DAQUAR's). What a file says is not believed until it is checked.
 */
import { gqaQuestions } from './gqa.ts';
import { filenameOf, isRecord, refuseQuestions, textOf } from './vqa-rows.ts';
import type { Json, VqaQuestion } from './vqa-rows.ts';

/**
 * The questions of parsed documents.
 *
 * @param annotations VQAv2's and OK-VQA's second file, parsed
 * @throws QuerentError QRT_DATASET naming the row that is unusable.
 */
export function parseVqaDataset(document: unknown, source: string, annotations?: unknown): VqaQuestion[] {
  const questions = parse(document, source, annotations);
  if (questions.length === 0) return refuseQuestions(source, '', 'it has no questions.');
  const seen = new Set<string>();
  for (const { id } of questions) {
    if (seen.has(id)) return refuseQuestions(source, '', `the question ${id} occurs twice.`);
    seen.add(id);
  }
  return questions;
}

function parse(document: unknown, source: string, annotations: unknown): VqaQuestion[] {
  if (Array.isArray(document)) return document.map((row: unknown, i) => plainQuestion(row, source, i));
  if (!isRecord(document)) return refuseQuestions(source, '', 'it is neither an object nor a list.');
  if (Array.isArray(document['questions'])) return vqaQuestions(document, document['questions'], source, annotations);
  return gqaQuestions(document, source);
}

function plainQuestion(row: unknown, source: string, index: number): VqaQuestion {
  const at = `/${index}`;
  if (!isRecord(row)) return refuseQuestions(source, at, 'a question is an object.');
  return {
    id: row['question_id'] === undefined ? String(index) : textOf(row['question_id'], source, `${at}/question_id`),
    filename: filenameOf(row['image'], source, `${at}/image`),
    question: textOf(row['question'], source, `${at}/question`),
    answers: answersOf(row['answers'] ?? [row['answer']], source, `${at}/answers`),
  };
}

/** VQAv2 and OK-VQA: a question names an image by its COCO id, an annotation has the answers. */
function vqaQuestions(document: Json, rows: readonly unknown[], source: string, annotations: unknown): VqaQuestion[] {
  const byId = new Map<string, Json>();
  const list: unknown = isRecord(annotations) ? annotations['annotations'] : undefined;
  if (!Array.isArray(list)) return refuseQuestions(source, '', 'its answers are in another file, which has a list "annotations": name it too.');
  list.forEach((row: unknown, i) => {
    if (!isRecord(row)) return refuseQuestions('annotations', `/annotations/${i}`, 'an annotation is an object.');
    byId.set(textOf(row['question_id'], 'annotations', `/annotations/${i}/question_id`), row);
  });
  return rows.map((row: unknown, i) => {
    const at = `/questions/${i}`;
    if (!isRecord(row)) return refuseQuestions(source, at, 'a question is an object.');
    const id = textOf(row['question_id'], source, `${at}/question_id`);
    const annotation = byId.get(id);
    if (annotation === undefined) return refuseQuestions(source, at, `the annotations have no answers to question ${id}.`);
    const { answer_type: answerType, question_type: questionType } = annotation;
    return {
      id,
      filename: row['image'] === undefined ? cocoName(document, row['image_id'], source, `${at}/image_id`) : filenameOf(row['image'], source, `${at}/image`),
      question: textOf(row['question'], source, `${at}/question`),
      answers: answersOf(annotation['answers'], source, `the answers of question ${id}`),
      ...(typeof answerType === 'string' ? { answerType } : {}),
      ...(typeof questionType === 'string' ? { questionType } : {}),
    };
  });
}

/** `COCO_val2014_000000123456.jpg` */
function cocoName(document: Json, id: unknown, source: string, pointer: string): string {
  const subtype = document['data_subtype'];
  const split = typeof subtype === 'string' && /^[\w-]+$/.test(subtype) ? subtype : 'val2014';
  return filenameOf(`COCO_${split}_${textOf(id, source, pointer).padStart(12, '0')}.jpg`, source, pointer);
}

function answersOf(value: unknown, source: string, pointer: string): readonly string[] {
  if (!Array.isArray(value) || value.length === 0) return refuseQuestions(source, pointer, 'a list of answers was expected.');
  return value.map((answer: unknown, i) => textOf(isRecord(answer) ? answer['answer'] : answer, source, `${pointer}/${i}`));
}
