/** `querent vqa PHOTO... QUESTION`: a short answer for each photograph, written, or chosen from a list. */
import { readFile } from 'node:fs/promises';
import { QuerentError } from '@querent/core';
import { JSON_ARG, MODEL_ARGS, defineCliCommand } from '../command.ts';
import type { Command } from '../command.ts';
import { GENERATE_ARGS, generateOptions } from '../generate-args.ts';
import { splitLast } from '../inputs.ts';
import { lookedUp, overPhotos } from '../over-photos.ts';
import { querentOptions } from '../session.ts';

const args = {
  question: { type: 'string', description: 'The question; the last word of the command when absent.', valueHint: 'TEXT' },
  candidates: { type: 'string', description: 'Choose among these: a file with an answer a line, or answers with commas between.', valueHint: 'LIST' },
  prompt: { type: 'string', description: 'Template in which {} stands for the question.', valueHint: 'TEXT' },
  model: { type: 'string', description: 'Model folder; the embedded querent-mini when absent.', valueHint: 'DIR' },
  ...GENERATE_ARGS,
  ...MODEL_ARGS,
  ...JSON_ARG,
} as const;

const command: Command<typeof args> = defineCliCommand({
  name: 'vqa',
  description: 'Answer a question about each photograph.',
  positionals: 'PHOTO... QUESTION',
  args,
  async run(given, { signal, positionals }) {
    const { names, last: question } = given.question === undefined ? splitLast(positionals, 'question') : { names: positionals, last: given.question };
    const candidates = given.candidates === undefined ? undefined : await candidatesOf(given.candidates);
    const how = { question, ...generateOptions(given), ...(given.prompt === undefined ? {} : { prompt: given.prompt }), ...(candidates === undefined ? {} : { candidates }) };
    const photos = await lookedUp(names);
    const { pipeline } = await import('querent');
    await using ask = await pipeline('vqa', { ...(await querentOptions(given)), ...(given.model === undefined ? {} : { model: given.model }), signal });
    return await overPhotos({
      photos,
      task: ask,
      input: (image) => ({ image, ...how }),
      json: ({ text, score, nBest, ranking }) => ({ question, answer: text, score, ...(nBest === undefined ? {} : { nBest }), ...(ranking === undefined ? {} : { ranking }) }),
      lines: ({ text, nBest }) => nBest?.map((one) => one.text) ?? [text],
      done: 'answered',
      asJson: given.json,
      signal,
    });
  },
});
export default command as unknown as Command; // `run` is given what `args` describes

/** Largest list that is read. */
const MAX_BYTES = 1 << 24;

/** @throws QuerentError QRT_USAGE when there is none. */
async function candidatesOf(given: string): Promise<string[]> {
  const listed = await readFile(given, 'utf8').catch(() => undefined);
  if (listed !== undefined && listed.length > MAX_BYTES) throw new QuerentError('QRT_USAGE', `--candidates ${given} has ${listed.length} characters; at most ${MAX_BYTES} are read.`);
  const candidates = (listed === undefined ? given.split(',') : listed.split(/\r?\n/)).map((one) => one.trim()).filter((one) => one !== '');
  if (candidates.length === 0) throw new QuerentError('QRT_USAGE', '--candidates names no answer.', { fix: 'Give a file with an answer a line, or answers with commas between: --candidates "yes,no".' });
  return candidates;
}
