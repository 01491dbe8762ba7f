/** A question with its answers, and the checks that every reader of questions makes of a row. */
import { QuerentError } from '@querent/core';

/** A question with everybody's answers. */
export interface VqaQuestion {
  readonly id: string;
  /** Relative to the folder of images; never leads out of it. */
  readonly filename: string;
  readonly question: string;
  /** At least one: ten for VQAv2 and OK-VQA, one for GQA. */
  readonly answers: readonly string[];
  readonly answerType?: string;
  readonly questionType?: string;
}

/** An object of a file. */
export type Json = Readonly<Record<string, unknown>>;

const FIX = 'Questions are VQAv2’s or OK-VQA’s two files, GQA’s object, or a list [{ "image", "question", "answer" }].';

/** @throws QuerentError QRT_DATASET that names the place. */
export function refuseQuestions(source: string, pointer: string, problem: string): never {
  throw new QuerentError('QRT_DATASET', `${source}${pointer === '' ? '' : ` at ${pointer}`}: ${problem}`, { fix: FIX, details: { source, pointer } });
}

/** A text with something in it, else an error that names the place. Numbers are taken as ids. */
export function textOf(value: unknown, source: string, pointer: string): string {
  const text = typeof value === 'number' && Number.isFinite(value) ? String(value) : value;
  if (typeof text !== 'string' || text.trim() === '') return refuseQuestions(source, pointer, `a text was expected, this is ${(JSON.stringify(value) ?? 'nothing').slice(0, 60)}.`);
  return text;
}

/** A file name that stays in its folder. */
export function filenameOf(value: unknown, source: string, pointer: string): string {
  const name = textOf(value, source, pointer);
  const leadsOut = name.includes('\0') || /^([\\/]|[A-Za-z]:)/.test(name) || name.split(/[\\/]/).includes('..');
  return leadsOut ? refuseQuestions(source, pointer, `the file name ${JSON.stringify(name.slice(0, 60))} leads out of the folder of images.`) : name;
}

/** Is it an object? */
export function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
