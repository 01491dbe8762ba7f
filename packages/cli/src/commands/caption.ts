/** `querent caption PHOTO...`: a line for each photograph, in order, as soon as it is there. One that fails is told on stderr. */
import { JSON_ARG, MODEL_ARGS, defineCliCommand } from '../command.ts';
import type { Command } from '../command.ts';
import { GENERATE_ARGS, generateOptions } from '../generate-args.ts';
import { lookedUp, overPhotos } from '../over-photos.ts';
import { querentOptions } from '../session.ts';

const args = {
  model: { type: 'string', description: 'Model folder; the embedded querent-mini when absent.', valueHint: 'DIR' },
  prompt: { type: 'string', description: 'Text that each caption goes on from, for instance "a photo of".', valueHint: 'TEXT' },
  ...GENERATE_ARGS,
  ...MODEL_ARGS,
  ...JSON_ARG,
} as const;

const command: Command<typeof args> = defineCliCommand({
  name: 'caption',
  description: 'Write a sentence about each photograph: files, folders, patterns, URLs, - for standard input.',
  positionals: 'PHOTO...',
  args,
  async run(given, { signal, positionals }) {
    const how = { ...generateOptions(given), ...(given.prompt === undefined ? {} : { prompt: given.prompt }) };
    const photos = await lookedUp(positionals);
    const { pipeline } = await import('querent');
    await using caption = await pipeline('caption', { ...(await querentOptions(given)), ...(given.model === undefined ? {} : { model: given.model }), signal });
    return await overPhotos({
      photos,
      task: caption,
      input: (image) => ({ image, ...how }),
      json: ({ text, score, nBest }) => ({ text, score, ...(nBest === undefined ? {} : { nBest }) }),
      lines: ({ text, nBest }) => nBest?.map((one) => one.text) ?? [text],
      done: 'captioned',
      asJson: given.json,
      signal,
    });
  },
});
export default command as unknown as Command; // `run` is given what `args` describes
