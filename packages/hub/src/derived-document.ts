/**
 * What was found out about a checkpoint, beside it: a JSON document in the folder of the derived weights (`quantise-cache.ts`), written
 * atomically and with its own sha256. One that does not fit its checksum counts as none.
 */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from './file-write.ts';
import type { JsonObject } from './json-file.ts';
import { isJsonObject, readJsonObject } from './json-file.ts';
import type { DerivedOptions } from './quantise-cache.ts';
import { cacheFolders, firstWritable } from './quantise-cache.ts';

const SUFFIX = '.found.json';

/**
 * The document of this kind and key, or the one that `make` gives now.
 * @throws QuerentError QRT_FILE when neither folder can be written; what `make` throws.
 */
export async function derivedDocument({ beside, kind, key, signal }: DerivedOptions, make: () => Promise<JsonObject>): Promise<JsonObject> {
  const name = `${kind}-${digestOf(key).slice(0, 16)}${SUFFIX}`;
  const folders = await cacheFolders(beside);
  for (const folder of folders) {
    const found = await readWhole(join(folder, name));
    if (found !== undefined) return found;
  }
  const document = await make();
  signal?.throwIfAborted();
  const folder = (await firstWritable(folders)) ?? folders.at(-1) ?? beside;
  await writeFileAtomic(join(folder, name), `${JSON.stringify({ sha256: digestOf(document), document }, null, 1)}\n`);
  return document;
}

/** All whole documents of a kind. */
export async function derivedDocuments({ beside, kind }: Pick<DerivedOptions, 'beside' | 'kind'>): Promise<readonly JsonObject[]> {
  const found: JsonObject[] = [];
  for (const folder of await cacheFolders(beside)) {
    const names = await readdir(folder).catch(() => []); // no cache is no document
    for (const name of names.sort()) {
      if (!name.startsWith(`${kind}-`) || !name.endsWith(SUFFIX)) continue;
      const document = await readWhole(join(folder, name));
      if (document !== undefined) found.push(document);
    }
  }
  return found;
}

function digestOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

async function readWhole(file: string): Promise<JsonObject | undefined> {
  const read = await readJsonObject(file).catch(() => undefined); // not there or damaged: as if it had never been
  const document = read?.['document'];
  return isJsonObject(document) && digestOf(document) === read?.['sha256'] ? document : undefined;
}
