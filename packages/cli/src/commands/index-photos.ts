/** `querent index FOLDER... --out INDEX`: brings an index up to date with folders; only new and changed photographs are encoded. */
import { stat } from 'node:fs/promises';
import { dirname, extname, relative, resolve, sep } from 'node:path';
import type { ImageSource, LoadedModel, VectorStore } from '@querent/core';
import { JSON_ARG, MODEL_ARGS, defineCliCommand, required } from '../command.ts';
import type { Command } from '../command.ts';
import { photosOf } from '../inputs.ts';
import { note, printJson, printLine, progressLine, thousands } from '../output.ts';
import { describeItemError, errorJson } from '../print-error.ts';
import { openQuerent } from '../session.ts';

const args = {
  out: { type: 'string', description: 'The index: a folder, or a server’s URL with --store.', valueHint: 'INDEX' },
  store: { type: 'string', description: 'Kind of store. Default folder.', valueHint: 'NAME' },
  model: { type: 'string', description: 'Model folder; the embedded querent-mini-retrieval when absent.', valueHint: 'DIR' },
  ...MODEL_ARGS,
  ...JSON_ARG,
} as const;

/** What a folder is expected to hold besides photographs is passed over; a file that is named is tried. */
const PHOTO = new Set(['.jpg', '.jpeg', '.png', '.webp', '.gif', '.avif', '.tif', '.tiff', '.bmp']);

const command: Command<typeof args> = defineCliCommand({
  name: 'index',
  description: 'Bring an index up to date with folders of photographs. Search it with `querent search`.',
  positionals: 'FOLDER...',
  args,
  async run(given, { signal, positionals }) {
    const out = required('out', given.out);
    const { defaultModel, indexImages, spaceOf } = await import('querent');
    const base = placeOf(out);
    const photos = photosToIndex(positionals, base);
    const first = await photos.next(); // naming none is a mistake that should not cost a second
    await using querent = await openQuerent(given);
    const plugin = querent.registry.get('store', given.store ?? 'folder');
    const model: LoadedModel = await querent.load(given.model ?? defaultModel(['embed']), { signal });
    await using store = await plugin.open(out, { space: await spaceOf(model, signal), write: true, signal });
    const counts = { added: 0, unchanged: 0, failed: 0 };
    const all = (async function* () {
      if (first.done !== true) yield first.value;
      yield* photos;
    })();
    for await (const event of indexImages(model, all, store, { signal })) {
      counts[event.type]++;
      if (event.type === 'failed') {
        if (given.json) printJson({ image: event.id, error: errorJson(event.error) });
        note(`${event.id}   ${describeItemError(event.error)}`);
      }
      progressLine.show(`${thousands(counts.added)} added, ${thousands(counts.unchanged)} as they were`);
    }
    const removed = await removeVanished(store, positionals, base, signal);
    progressLine.clear();
    signal.throwIfAborted();
    const { size } = store;
    if (given.json) printJson({ ...counts, removed, size });
    else printLine(`${thousands(counts.added)} added, ${thousands(counts.unchanged)} as they were, ${thousands(removed)} removed: ${thousands(size)} photographs in ${out}`);
    return counts.failed > 0 ? 1 : 0;
  },
});
export default command as unknown as Command; // `run` is given what `args` describes

/** What ids are relative to: where the index stands, so that both may be moved together; the working directory for a server. */
function placeOf(out: string): string {
  return /^https?:/.test(out) ? process.cwd() : dirname(resolve(out));
}

function idOf(path: string, base: string): string {
  return relative(base, resolve(path)).split(sep).join('/');
}

async function* photosToIndex(named: readonly string[], base: string): AsyncGenerator<{ id: string; version: string; image: ImageSource }, void> {
  for (const name of named.length === 0 ? [undefined] : named) {
    const isFolder = name !== undefined && (await stat(name).catch(() => undefined))?.isDirectory() === true;
    for await (const photo of photosOf(name === undefined ? [] : [name])) {
      if (typeof photo.image !== 'string' || /^(https?|data|file):/.test(photo.image)) {
        yield { id: photo.name, version: 'named', image: photo.image };
        continue;
      }
      if (isFolder && !PHOTO.has(extname(photo.name).toLowerCase())) continue;
      const file = await stat(photo.image).catch(() => undefined); // decoding says why
      yield { id: idOf(photo.name, base), version: file === undefined ? 'unreadable' : `${file.size}-${file.mtimeMs}`, image: photo.image };
    }
  }
}

/** Forgets photographs that were in the named folders and are no longer. */
async function removeVanished(store: VectorStore, named: readonly string[], base: string, signal: AbortSignal): Promise<number> {
  let removed = 0;
  for (const name of named) {
    if ((await stat(name).catch(() => undefined))?.isDirectory() !== true) continue;
    const folder = idOf(name, base);
    const gone: string[] = [];
    for await (const id of store.ids(folder === '' ? '' : `${folder}/`)) {
      signal.throwIfAborted();
      if (/^(https?|data|file):/.test(id)) continue;
      if ((await stat(resolve(base, id)).catch(() => undefined)) === undefined) gone.push(id);
    }
    await store.remove(gone, { signal });
    removed += gone.length;
  }
  await store.flush();
  return removed;
}
