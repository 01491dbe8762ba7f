/** `querent caption PHOTO...`: a line for each photograph, in order, as soon as it is there. One that fails is told on stderr. */
import type { ImageSource } from '@querent/core';
import { JSON_ARG, MODEL_ARGS, defineCliCommand, wholeNumber } from '../command.ts';
import type { Command } from '../command.ts';
import { photosOf } from '../inputs.ts';
import type { Photo } from '../inputs.ts';
import { note, printJson, printLine, progressLine, thousands } from '../output.ts';
import { describeItemError, errorJson } from '../print-error.ts';
import { querentOptions } from '../session.ts';

const args = {
  model: { type: 'string', description: 'Model folder; the embedded querent-mini when absent.', valueHint: 'DIR' },
  prompt: { type: 'string', description: 'Text that each caption goes on from.', valueHint: 'TEXT' },
  beams: { type: 'string', description: 'Hypotheses kept; 1 is greedy.', valueHint: 'N' },
  'max-new-tokens': { type: 'string', description: 'Most tokens of a caption.', valueHint: 'N' },
  ...MODEL_ARGS,
  ...JSON_ARG,
} as const;

const command: Command<typeof args> = defineCliCommand({
  name: 'caption',
  description: 'Write a sentence about each photograph: files, folders, patterns, URLs, - for standard input.',
  positionals: 'PHOTO...',
  args,
  async run(given, { signal, positionals }) {
    const numBeams = wholeNumber('beams', given.beams);
    const maxNewTokens = wholeNumber('max-new-tokens', given['max-new-tokens']);
    const how = {
      ...(given.prompt === undefined ? {} : { prompt: given.prompt }),
      ...(numBeams === undefined ? {} : { numBeams }),
      ...(maxNewTokens === undefined ? {} : { maxNewTokens }),
    };
    const first = await firstOf(positionals);
    const { pipeline } = await import('querent');
    await using caption = await pipeline('caption', { ...(await querentOptions(given)), ...(given.model === undefined ? {} : { model: given.model }), signal });
    const pending: Photo[] = [];
    const outcomes = caption(requests(first, how, pending), { signal });
    const started = performance.now();
    let failed = 0;
    let done = 0;
    for await (const { text, score, error } of outcomes) {
      const photo = pending.shift(); // a flow keeps the order
      const name = photo?.name ?? '';
      done++;
      if (error !== undefined) {
        failed++;
        if (given.json) printJson({ image: name, error: errorJson(error) });
        note(`${name}   ${describeItemError(error)}`);
      } else if (given.json) printJson({ image: name, text, score });
      else printLine(`${name}   ${text}`);
      if (done > 1) progressLine.show(`${thousands(done)} captioned, ${((1000 * done) / (performance.now() - started)).toFixed(1)} a second`);
    }
    progressLine.clear();
    signal.throwIfAborted();
    return failed > 0 ? 1 : 0;
  },
});
export default command as unknown as Command; // `run` is given what `args` describes

/** The photographs, the first of them looked up before a model is loaded: naming none is a mistake that should not cost a second. */
async function firstOf(named: readonly string[]): Promise<AsyncIterable<Photo>> {
  const photos = photosOf(named);
  const first = await photos.next();
  return (async function* () {
    if (first.done !== true) yield first.value;
    yield* photos;
  })();
}

async function* requests(photos: AsyncIterable<Photo>, how: object, pending: Photo[]): AsyncGenerator<ImageSource | { readonly image: ImageSource }> {
  for await (const photo of photos) {
    pending.push(photo);
    yield { image: photo.image, ...how };
  }
}
