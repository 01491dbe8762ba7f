/** `querent embed PHOTO...` or `querent embed --text SENTENCE`: unit vectors, a JSON object a line. */
import { MODEL_ARGS, JSON_ARG, defineCliCommand } from '../command.ts';
import type { Command } from '../command.ts';
import { photosOf } from '../inputs.ts';
import { note, printJson } from '../output.ts';
import { describeItemError, errorJson } from '../print-error.ts';
import { querentOptions } from '../session.ts';

const args = {
  text: { type: 'string', description: 'A sentence instead of photographs.', valueHint: 'SENTENCE' },
  model: { type: 'string', description: 'Model folder; the embedded querent-mini-retrieval when absent.', valueHint: 'DIR' },
  ...MODEL_ARGS,
  ...JSON_ARG,
} as const;

const command: Command<typeof args> = defineCliCommand({
  name: 'embed',
  description: 'Turn photographs or a sentence into unit vectors of one space; always JSON, one object a line.',
  positionals: 'PHOTO...',
  args,
  async run(given, { signal, positionals }) {
    const { pipeline } = await import('querent');
    await using embed = await pipeline('embed', { ...(await querentOptions(given)), ...(given.model === undefined ? {} : { model: given.model }), signal });
    if (given.text !== undefined) {
      printJson({ text: given.text, vectors: (await embed({ text: given.text }, { signal })).vectors });
      if (positionals.length === 0) return 0;
    }
    let failed = 0;
    for await (const { name, image } of photosOf(positionals)) {
      signal.throwIfAborted();
      try {
        printJson({ image: name, vectors: (await embed({ image }, { signal })).vectors });
      } catch (error) {
        signal.throwIfAborted();
        failed++;
        printJson({ image: name, error: errorJson(error) });
        note(`${name}   ${describeItemError(error)}`);
      }
    }
    return failed > 0 ? 1 : 0;
  },
});
export default command as unknown as Command; // `run` is given what `args` describes
