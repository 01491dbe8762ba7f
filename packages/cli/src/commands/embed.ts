/** `querent embed PHOTO...`, `querent embed --text SENTENCE`, or both read together: vectors, a JSON object a line. */
import { QuerentError } from '@querent/core';
import { MODEL_ARGS, JSON_ARG, defineCliCommand } from '../command.ts';
import type { Command } from '../command.ts';
import { printJson } from '../output.ts';
import { lookedUp, overPhotos } from '../over-photos.ts';
import { querentOptions } from '../session.ts';

const args = {
  text: { type: 'string', description: 'A sentence, instead of photographs or beside them.', valueHint: 'SENTENCE' },
  together: { type: 'boolean', description: 'Read each photograph together with the text: multimodal features.', default: false },
  model: { type: 'string', description: 'Model folder; the embedded querent-mini-retrieval when absent.', valueHint: 'DIR' },
  ...MODEL_ARGS,
  ...JSON_ARG,
} as const;

const command: Command<typeof args> = defineCliCommand({
  name: 'embed',
  description: 'Turn photographs or a sentence into unit vectors of one space, or both into what their reader makes of them; always JSON, one object a line.',
  positionals: 'PHOTO...',
  args,
  async run(given, { signal, positionals }) {
    const { text, together } = given;
    if (together && text === undefined) throw new QuerentError('QRT_USAGE', '--together has no text to read.', { fix: 'Give it with --text SENTENCE.' });
    const photos = positionals.length === 0 && text !== undefined && !together ? undefined : await lookedUp(positionals);
    const { pipeline } = await import('querent');
    await using embed = await pipeline('embed', { ...(await querentOptions(given)), ...(given.model === undefined ? {} : { model: given.model }), signal });
    if (text !== undefined && !together) printJson({ text, vectors: (await embed({ text }, { signal })).vectors });
    if (photos === undefined) return 0;
    return await overPhotos({
      photos,
      task: embed,
      input: (image) => (together && text !== undefined ? { image, text } : { image }),
      json: ({ vectors }) => ({ ...(together ? { text } : {}), vectors }),
      lines: () => [],
      done: 'embedded',
      asJson: true,
      signal,
    });
  },
});
export default command as unknown as Command; // `run` is given what `args` describes
