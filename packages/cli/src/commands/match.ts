/** `querent match PHOTO... --text SENTENCE`: how well a sentence fits each photograph. */
import { JSON_ARG, MODEL_ARGS, defineCliCommand, required } from '../command.ts';
import type { Command } from '../command.ts';
import { photosOf } from '../inputs.ts';
import type { Photo } from '../inputs.ts';
import { note, printJson, printLine } from '../output.ts';
import { describeItemError, errorJson } from '../print-error.ts';
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
    const { pipeline } = await import('querent');
    await using match = await pipeline('match', { ...(await querentOptions(given)), ...(given.model === undefined ? {} : { model: given.model }), signal });
    const pending: Photo[] = [];
    const pairs = async function* (): AsyncGenerator<{ image: Photo['image']; text: string }> {
      for await (const photo of photosOf(positionals)) {
        pending.push(photo);
        yield { image: photo.image, text };
      }
    };
    let failed = 0;
    for await (const { probability, similarity, isMatch, error } of match(pairs(), { signal })) {
      const name = pending.shift()?.name ?? '';
      if (error !== undefined) {
        failed++;
        if (given.json) printJson({ image: name, error: errorJson(error) });
        note(`${name}   ${describeItemError(error)}`);
      } else if (given.json) printJson({ image: name, text, probability, similarity, isMatch });
      else printLine(`${name}   ${(100 * probability).toFixed(1)} %   cosine ${similarity.toFixed(3)}`);
    }
    signal.throwIfAborted();
    return failed > 0 ? 1 : 0;
  },
});
export default command as unknown as Command; // `run` is given what `args` describes
