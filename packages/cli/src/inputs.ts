/**
 * Photographs that a command line names: files, folders (every file in them, in order of name), glob patterns that the shell
 * left alone, `-` for the bytes of standard input, URLs. Lazy: a folder of a million files is not read into memory.
 */
import { opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { QuerentError } from '@querent/core';
import type { ImageSource } from '@querent/core';

/** One photograph: how it was called, and where its bytes are. */
export interface Photo {
  readonly name: string;
  readonly image: ImageSource;
}

const GLOB = /[*?[\]{}]/;

/** @throws QuerentError QRT_USAGE when nothing is named or a pattern fits nothing; a file that is not there fails when it is read. */
export async function* photosOf(named: readonly string[]): AsyncGenerator<Photo, void> {
  if (named.length === 0) throw new QuerentError('QRT_USAGE', 'No photograph is named.', { fix: 'Name files, folders, a pattern in quotes, or - for standard input.' });
  for (const name of named) yield* photosNamed(name);
}

async function* photosNamed(name: string): AsyncGenerator<Photo, void> {
  if (name === '-') {
    yield { name, image: process.stdin };
    return;
  }
  if (/^(https?|data|file):/.test(name)) {
    yield { name: name.startsWith('data:') ? `${name.slice(0, 40)}…` : name, image: name };
    return;
  }
  const kind = await kindOf(name);
  if (kind === 'folder') {
    yield* photosIn(name, () => true);
    return;
  }
  if (kind === undefined && GLOB.test(name)) {
    const pattern = globPattern(name);
    let found = 0;
    for await (const photo of photosIn(fixedFolder(name), (path) => pattern.test(path))) {
      found++;
      yield photo;
    }
    if (found === 0) throw new QuerentError('QRT_USAGE', `No file fits the pattern ${name}.`, { fix: '** stands for any folders, * for any characters of a name.' });
    return;
  }
  yield { name, image: name };
}

async function kindOf(path: string): Promise<'file' | 'folder' | undefined> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file';
  } catch {
    return undefined; // reading it says why
  }
}

/** Files below a folder, by name; hidden ones and what begins with a dot are passed over. */
async function* photosIn(folder: string, isWanted: (path: string) => boolean): AsyncGenerator<Photo, void> {
  const entries: { readonly name: string; readonly isFolder: boolean }[] = [];
  try {
    for await (const entry of await opendir(folder)) {
      if (!entry.name.startsWith('.')) entries.push({ name: entry.name, isFolder: entry.isDirectory() });
    }
  } catch (cause) {
    throw new QuerentError('QRT_FILE', `The folder ${folder} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`, { fix: 'Check the path and its permissions.', cause });
  }
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const { name, isFolder } of entries) {
    const path = folder === '.' ? name : join(folder, name);
    if (isFolder) yield* photosIn(path, isWanted);
    else if (isWanted(path)) yield { name: path, image: path };
  }
}

/** The folders of a pattern before its first wildcard. */
function fixedFolder(pattern: string): string {
  const parts = pattern.split('/');
  const fixed = parts.slice(0, parts.findIndex((part) => GLOB.test(part))).join('/');
  return fixed === '' ? (pattern.startsWith('/') ? '/' : '.') : fixed;
}

/** `**` any folders, `*` and `?` within a name, `[abc]`, `{a,b}`. */
export function globPattern(glob: string): RegExp {
  const parts: Readonly<Record<string, string>> = { '**/': '(?:[^/]+/)*', '**': '.*', '*': '[^/]*', '?': '[^/]', '{': '(?:', '}': ')', ',': '|' };
  let depth = 0;
  const source = glob.replace(/^\.\//, '').replace(/\*\*\/|\*\*|\*|\?|\{|\}|,|\[[^\]]*\]|[.+^$()|\\[\]]/g, (token) => {
    if (token === '{') depth++;
    if (token === '}') depth--;
    if (token === ',' && depth === 0) return ',';
    if (token.startsWith('[') && token.length > 1) return token.replace(/^\[!/, '[^');
    return parts[token] ?? `\\${token}`;
  });
  return new RegExp(`^${source}$`);
}

/** Photographs, and the words after them. @throws QuerentError QRT_USAGE when one of the two is missing. */
export function splitLast(positionals: readonly string[], what: string): { readonly names: readonly string[]; readonly last: string } {
  const last = positionals.at(-1);
  if (last !== undefined && positionals.length > 1) return { names: positionals.slice(0, -1), last };
  throw new QuerentError('QRT_USAGE', `A photograph and a${what.startsWith('i') ? 'n' : ''} ${what} were expected${last === undefined ? '' : `; there is only ${JSON.stringify(last)}`}.`, {
    fix: `Name the photographs, then the ${what} in quotes, or give it with --${what}.`,
  });
}
