/** `querent search INDEX "two dogs in the snow"` (also `querent retrieve`): the photographs of an index that fit a sentence, or are like another one. */
import { relative, resolve } from 'node:path';
import { QuerentError } from '@querent/core';
import { JSON_ARG, MODEL_ARGS, defineCliCommand, wholeNumber } from '../command.ts';
import type { Command } from '../command.ts';
import { note, printJson, printLine } from '../output.ts';
import { describeItemError, errorJson } from '../print-error.ts';
import { openQuerent } from '../session.ts';

const args = {
  image: { type: 'string', description: 'A photograph to find others like it, instead of a sentence.', valueHint: 'PHOTO' },
  top: { type: 'string', description: 'Photographs wanted. Default 10.', valueHint: 'N' },
  rerank: { type: 'string', description: 'Candidates that the matching head reads; 0 is none and answers at once. Default 128.', valueHint: 'K' },
  store: { type: 'string', description: 'Kind of store. Default folder.', valueHint: 'NAME' },
  model: { type: 'string', description: 'Model folder; the embedded querent-mini-retrieval when absent.', valueHint: 'DIR' },
  ...MODEL_ARGS,
  ...JSON_ARG,
} as const;

const command: Command<typeof args> = defineCliCommand({
  name: 'search',
  description: 'Find the photographs of an index that fit a sentence, or are like another photograph.',
  positionals: 'INDEX SENTENCE...',
  args,
  async run(given, { signal, positionals }) {
    const [index, ...words] = positionals;
    const text = words.join(' ').trim();
    if (index === undefined || (text === '') === (given.image === undefined)) {
      throw new QuerentError('QRT_USAGE', index === undefined ? 'No index is named.' : `A search needs a sentence or --image; it was given ${text === '' ? 'neither' : 'both'}.`, { fix: 'querent search photos.index "two dogs in the snow"' });
    }
    const top = wholeNumber('top', given.top);
    const rerank = wholeNumber('rerank', given.rerank, 0);
    const { createRetriever, defaultModel, locateImage } = await import('querent');
    await using querent = await openQuerent(given);
    await using store = await querent.registry.get('store', given.store ?? 'folder').open(index, { signal });
    const model = await querent.load(given.model ?? defaultModel(['embed']), { signal });
    const locate = (id: string): string => (/^https?:/.test(index) ? resolve(id) : locateImage(index, id));
    const retriever = await createRetriever(model, store, { locate });
    const query = given.image === undefined ? { text } : { image: given.image };
    const found = await retriever.search(query, { signal, ...(top === undefined ? {} : { top }), ...(rerank === undefined ? {} : { rerank }) });
    let failed = 0;
    for (const { id, score, similarity, logit, error } of found) {
      const image = shown(locate(id));
      if (error !== undefined) {
        failed++;
        note(`${image}   ${describeItemError(error)}`);
      }
      if (given.json) printJson({ image, score, similarity, ...(logit === undefined ? {} : { logit }), ...(error === undefined ? {} : { error: errorJson(error) }) });
      else printLine(`${score.toFixed(3).padStart(7)}   ${image}`);
    }
    return failed > 0 ? 1 : 0;
  },
});
export default command as unknown as Command; // `run` is given what `args` describes

/** A path as a person here would write it. */
function shown(path: string): string {
  if (/^[a-z][a-z0-9+.-]*:/i.test(path)) return path;
  const near = relative('', path);
  return near.startsWith('..') ? path : near;
}
