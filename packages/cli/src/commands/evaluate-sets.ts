/** `querent evaluate vqa` and `querent evaluate nocaps`. */
import { readFile } from 'node:fs/promises';
import { QuerentError } from '@querent/core';
import type { AskedQuestions } from 'querent/evaluate';
import { finiteNumber, required, wholeNumber } from '../command.ts';
import { bar, note, printJson, printLine, progressLine, thousands } from '../output.ts';
import { describeItemError } from '../print-error.ts';
import { openQuerent } from '../session.ts';
import type { EngineArgs } from '../session.ts';

/** What both are given. */
interface SetArgs extends EngineArgs {
  readonly model?: string | undefined;
  readonly images?: string | undefined;
  readonly annotations?: string | undefined;
  readonly questions?: string | undefined;
  readonly recipe?: string | undefined;
  readonly data?: string | undefined;
  readonly cache?: string | undefined;
  readonly candidates?: string | undefined;
  readonly beams?: string | undefined;
  readonly 'length-penalty'?: string | undefined;
  readonly json?: boolean | undefined;
}

/** How far an evaluation is, on a terminal. */
export function onProgress({ what, done, total }: { readonly what: string; readonly done: number; readonly total: number }): void {
  progressLine.show(`${what}  ${bar(done, total)}  ${thousands(done)}/${thousands(total)}`);
}

/** Decoding options that the command line names. */
function decodingOf(given: SetArgs): Readonly<Record<string, number>> {
  const numBeams = wholeNumber('beams', given.beams);
  const lengthPenalty = finiteNumber('length-penalty', given['length-penalty']);
  return { ...(numBeams === undefined ? {} : { numBeams }), ...(lengthPenalty === undefined ? {} : { lengthPenalty }) };
}

/** Accuracy on a set of questions. */
export async function evaluateQuestions(given: SetArgs, signal: AbortSignal): Promise<number> {
  const modelName = required('model', given.model);
  const { evaluateVqaModel } = await import('querent/evaluate');
  const candidates = given.candidates === undefined ? undefined : await linesOf(given.candidates);
  const how = { ...decodingOf(given), ...(candidates === undefined ? {} : { candidates }) };
  const { folder, questions } = await questionsOf(given);
  await using querent = await openQuerent(given);
  const model = await querent.load(modelName, { signal });
  let failed = 0;
  const onImageError = (filename: string, error: Error): void => {
    failed++;
    note(`${filename}   ${describeItemError(error)}`);
  };
  const figures = await evaluateVqaModel(model, questions, folder, how, { signal, onProgress, onImageError });
  progressLine.clear();
  if (given.json) printJson(figures);
  else {
    printLine(`accuracy ${figures.accuracy.toFixed(2)}`);
    for (const [type, accuracy] of Object.entries(figures.perAnswerType)) printLine(`  ${type}  ${accuracy.toFixed(2)}`);
    printLine(`${thousands(figures.questions)} questions, ${figures.questionsPerSecond.toFixed(1)} a second`);
  }
  return failed > 0 ? 1 : 0;
}

/** The questions of a file, or those that a recipe held out. */
async function questionsOf({ recipe, questions, images, annotations, data, cache }: SetArgs): Promise<AskedQuestions> {
  const { heldOutQuestions, questionsOfFile } = await import('querent/evaluate');
  const cached = cache === undefined ? {} : { cache };
  if (recipe === undefined) return questionsOfFile(required('questions', questions), { ...cached, ...(images === undefined ? {} : { images }), ...(annotations === undefined ? {} : { annotations }) });
  if (questions !== undefined) throw new QuerentError('QRT_USAGE', 'Both --questions and --recipe say what to ask.', { fix: 'Leave one of them out.' });
  return heldOutQuestions(recipe, { ...cached, data: data ?? 'data' });
}

/** Caption figures by domain. */
export async function evaluateNocapsSet(given: SetArgs, signal: AbortSignal): Promise<number> {
  const [modelName, folder, annotations] = [required('model', given.model), required('images', given.images), required('annotations', given.annotations)];
  const { captionImages, evaluateNocaps, readNocaps } = await import('querent/evaluate');
  const images = await readNocaps(annotations);
  await using querent = await openQuerent(given);
  const model = await querent.load(modelName, { signal });
  let failed = 0;
  const onImageError = (filename: string, error: Error): void => {
    failed++;
    note(`${filename}   ${describeItemError(error)}`);
  };
  const { predictions, imagesPerSecond } = await captionImages(model, images, folder, decodingOf(given), { signal, onProgress, onImageError });
  progressLine.clear();
  const figures = evaluateNocaps(predictions, images);
  if (given.json) printJson({ ...figures, imagesPerSecond });
  else for (const [domain, { CIDEr, Bleu_4, images: count }] of Object.entries(figures)) printLine(`${domain.padEnd(12)} CIDEr ${CIDEr.toFixed(4)}  Bleu_4 ${Bleu_4.toFixed(4)}  ${thousands(count)} images`);
  return failed > 0 ? 1 : 0;
}

async function linesOf(file: string): Promise<string[]> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new QuerentError('QRT_FILE', `${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`, { fix: 'Check the path.', details: { file }, cause });
  }
  const lines = text.split(/\r?\n/).map((line) => line.trim()).filter((line) => line !== '');
  if (lines.length === 0) throw new QuerentError('QRT_DATASET', `${file} has no answers to choose from.`, { fix: 'Write one a line.', details: { file } });
  return lines;
}
