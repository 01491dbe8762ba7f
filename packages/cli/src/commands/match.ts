/** `querent match PHOTO... --text SENTENCE`: how well a sentence fits each photograph. */
import { JSON_ARG, MODEL_ARGS, defineCliCommand, required } from '../command.ts';
import type { Command } from '../command.ts';
import { lookedUp, overPhotos } from '../over-photos.ts';
import { querentOptions } from '../session.ts';

const args = {
  text: { type: 'string', description: 'The sentence.', valueHint: 'SENTENCE' },
  model: { type: 'string', description: 'Model folder; the embedded querent-mini-retrieval when absent.', valueHint: 'DIR' },
  ...MODEL_ARGS,
  ...JSON_ARG,
} as const;

const command: Command<typeof args> = defineCliCommand({
  name: 'match',
  description: 'Say how well a sentence fits each photograph: the probability of the matching head, and the cosine.',
  positionals: 'PHOTO...',
  args,
  async run(given, { signal, positionals }) {
    const text = required('text', given.text);
    const photos = await lookedUp(positionals);
    const { pipeline } = await import('querent');
    await using match = await pipeline('match', { ...(await querentOptions(given)), ...(given.model === undefined ? {} : { model: given.model }), signal });
    return await overPhotos({
      photos,
      task: match,
      input: (image) => ({ image, text }),
      json: ({ probability, similarity, isMatch }) => ({ text, probability, similarity, isMatch }),
      lines: ({ probability, similarity }) => [`${(100 * probability).toFixed(1)} %   cosine ${similarity.toFixed(3)}`],
      done: 'matched',
      asJson: given.json,
      signal,
    });
  },
});
export default command as unknown as Command; // `run` is given what `args` describes
