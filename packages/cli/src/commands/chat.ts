/**
 * `querent chat PHOTO...`: a talk about photographs. Each line of standard input is a turn; answers are written as they come. What
 * was said stays in the prompt. On a terminal there is a prompt sign and `/forget`; in a pipe, one answer a line.
 */
import { createInterface } from 'node:readline';
import { QuerentError } from '@querent/core';
import type { ChatMessage } from 'querent';
import { JSON_ARG, MODEL_ARGS, defineCliCommand } from '../command.ts';
import type { Command } from '../command.ts';
import { GENERATE_ARGS, generateOptions } from '../generate-args.ts';
import { photosOf } from '../inputs.ts';
import { note, printJson, printLine, printPart } from '../output.ts';
import { querentOptions } from '../session.ts';

const { n: _n, ...howToWrite } = GENERATE_ARGS;
const args = {
  message: { type: 'string', description: 'Say this and end, instead of reading turns.', valueHint: 'TEXT' },
  system: { type: 'string', description: 'What stands before the talk.', valueHint: 'TEXT' },
  model: { type: 'string', description: 'Model folder; the embedded querent-mini when absent.', valueHint: 'DIR' },
  ...howToWrite,
  ...MODEL_ARGS,
  ...JSON_ARG,
} as const;

/** Photographs in one talk, as the task takes them. */
const MAX_PHOTOS = 16;

const command: Command<typeof args> = defineCliCommand({
  name: 'chat',
  description: 'Talk about photographs: each line of standard input is a turn.',
  positionals: 'PHOTO...',
  args,
  async run(given, { signal, positionals }) {
    if (given.message === undefined && positionals.includes('-')) {
      throw new QuerentError('QRT_USAGE', 'Standard input cannot be the photograph and the talk.', { fix: 'Name the photograph as a file, or what to say with --message.' });
    }
    const images = [];
    for await (const { image } of photosOf(positionals)) {
      images.push(image);
      if (images.length > MAX_PHOTOS) throw new QuerentError('QRT_USAGE', `More than ${MAX_PHOTOS} photographs were named.`, { fix: 'Talk about fewer at a time.' });
    }
    const how = generateOptions(given);
    const { pipeline } = await import('querent');
    await using chat = await pipeline('chat', { ...(await querentOptions(given)), ...(given.model === undefined ? {} : { model: given.model }), signal });
    const opening: readonly ChatMessage[] = given.system === undefined ? [] : [{ role: 'system', content: given.system }];
    let messages = opening;
    for await (const content of given.message === undefined ? turns(signal) : [given.message]) {
      if (content === '/forget') {
        messages = opening;
        continue;
      }
      messages = [...messages, { role: 'user', content }];
      let answer = '';
      let rest: object = {};
      for await (const { delta, score, finish } of chat.stream({ images, messages, ...how }, { signal })) {
        answer += delta;
        if (score !== undefined) rest = { score, finish };
        if (!given.json) printPart(delta);
      }
      if (given.json) printJson({ role: 'assistant', content: answer, ...rest });
      else printLine('');
      messages = [...messages, { role: 'assistant', content: answer }];
    }
    return 0;
  },
});
export default command as unknown as Command; // `run` is given what `args` describes

/** Lines of standard input that say something. */
async function* turns(signal: AbortSignal): AsyncGenerator<string, void> {
  const isTerminal = process.stdin.isTTY === true;
  const lines = createInterface({ input: process.stdin, signal });
  const ask = (): void => {
    if (isTerminal) process.stderr.write('> ');
  };
  if (isTerminal) note('Ask something; /forget begins anew, Ctrl-D ends.');
  ask();
  for await (const line of lines) {
    const said = line.trim();
    if (said !== '') yield said;
    ask();
  }
  signal.throwIfAborted();
}
