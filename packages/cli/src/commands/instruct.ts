/** `querent instruct PHOTO... INSTRUCTION`: what the instruction asks for, about each photograph; of one alone, as it is written. */
import { JSON_ARG, MODEL_ARGS, defineCliCommand } from '../command.ts';
import type { Command } from '../command.ts';
import { GENERATE_ARGS, generateOptions } from '../generate-args.ts';
import { photosOf, splitLast } from '../inputs.ts';
import type { Photo } from '../inputs.ts';
import { printLine, printPart } from '../output.ts';
import { overPhotos } from '../over-photos.ts';
import { querentOptions } from '../session.ts';

const args = {
  instruction: { type: 'string', description: 'The instruction; the last word of the command when absent.', valueHint: 'TEXT' },
  model: { type: 'string', description: 'Model folder; the embedded querent-mini when absent.', valueHint: 'DIR' },
  ...GENERATE_ARGS,
  ...MODEL_ARGS,
  ...JSON_ARG,
} as const;

const command: Command<typeof args> = defineCliCommand({
  name: 'instruct',
  description: 'Do what an instruction asks for, about each photograph.',
  positionals: 'PHOTO... INSTRUCTION',
  args,
  async run(given, { signal, positionals }) {
    const { names, last: instruction } = given.instruction === undefined ? splitLast(positionals, 'instruction') : { names: positionals, last: given.instruction };
    const how = { instruction, ...generateOptions(given) };
    const photos = photosOf(names);
    const [only, second] = [await photos.next(), await photos.next()]; // looked up before a model is loaded
    const { pipeline } = await import('querent');
    await using instruct = await pipeline('instruct', { ...(await querentOptions(given)), ...(given.model === undefined ? {} : { model: given.model }), signal });
    if (!given.json && given.n === undefined && only.done !== true && second.done === true) {
      printPart(`${only.value.name}   `);
      for await (const { delta } of instruct.stream({ image: only.value.image, ...how }, { signal })) printPart(delta);
      printLine('');
      return 0;
    }
    return await overPhotos({
      photos: chained([only, second], photos),
      task: instruct,
      input: (image) => ({ image, ...how }),
      json: ({ text, score, finish, nBest }) => ({ instruction, text, score, finish, ...(nBest === undefined ? {} : { nBest }) }),
      lines: ({ text, nBest }) => nBest?.map((one) => one.text) ?? [text],
      done: 'done',
      asJson: given.json,
      signal,
    });
  },
});
export default command as unknown as Command; // `run` is given what `args` describes

async function* chained(first: readonly IteratorResult<Photo, void>[], rest: AsyncIterable<Photo>): AsyncGenerator<Photo, void> {
  for (const one of first) if (one.done !== true) yield one.value;
  yield* rest;
}
