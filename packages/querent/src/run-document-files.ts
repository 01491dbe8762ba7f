/** Files of a folder that fit a glob, in order of name, one by one: a folder of a million files is not read into memory. Links are followed to files, not to folders. */
import { opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { QuerentError } from '@querent/core';

/** Alternatives of `{a,b}` that are written out. */
const MAX_ALTERNATIVES = 256;

/** @throws QuerentError QRT_FILE when the folder cannot be read, QRT_CONFIG_INVALID for a glob that means more than 256 patterns. */
export async function* filesOf(folder: string, glob: string): AsyncGenerator<string, void, undefined> {
  const patterns = alternatives(glob.replace(/^\.\//, '')).map((pattern) => pattern.split('/'));
  yield* walk(folder, [], (parts) => patterns.some((pattern) => fits(pattern, parts)));
}

async function* walk(folder: string, below: readonly string[], isWanted: (parts: readonly string[]) => boolean): AsyncGenerator<string, void, undefined> {
  const entries: { readonly name: string; readonly isFolder: boolean }[] = [];
  try {
    for await (const entry of await opendir(join(folder, ...below))) {
      if (!entry.name.startsWith('.')) entries.push({ name: entry.name, isFolder: entry.isDirectory() });
    }
  } catch (cause) {
    throw new QuerentError('QRT_FILE', `The folder ${join(folder, ...below)} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`, { fix: 'Check the path and its permissions.', cause });
  }
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const { name, isFolder } of entries) {
    const parts = [...below, name];
    if (isFolder) yield* walk(folder, parts, isWanted);
    else if (isWanted(parts) && (await isFile(join(folder, ...parts)))) yield parts.join('/');
  }
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? true; // one that cannot be looked at fails when it is read
}

/** `a{b,c}` → `ab`, `ac`. */
function alternatives(glob: string): string[] {
  let done: string[] = [];
  let open = [glob];
  while (open.length > 0) {
    const [pattern = '', ...rest] = open;
    open = rest;
    const group = /\{([^{}]*)\}/.exec(pattern);
    if (group === null) done = [...done, pattern];
    else open = [...(group[1] ?? '').split(',').map((one) => pattern.slice(0, group.index) + one + pattern.slice(group.index + group[0].length)), ...open];
    if (done.length + open.length > MAX_ALTERNATIVES) throw new QuerentError('QRT_CONFIG_INVALID', `The glob ${JSON.stringify(glob.slice(0, 100))} means more than ${MAX_ALTERNATIVES} patterns.`, { fix: 'Write it with fewer braces.' });
  }
  return done;
}

/** Do the parts of a path fit those of a pattern? `**` stands for any number of folders. Time grows with the product of both. */
function fits(pattern: readonly string[], parts: readonly string[]): boolean {
  let row: boolean[] = parts.map(() => false);
  row = [true, ...row]; // row[j]: does the pattern so far fit the first j parts?
  for (const segment of pattern) {
    const next: boolean[] = [segment === '**' && row[0] === true];
    for (let j = 1; j <= parts.length; j++) {
      next[j] = segment === '**' ? next[j - 1] === true || row[j] === true : row[j - 1] === true && fitsName(segment, parts[j - 1] ?? '');
    }
    row = next;
  }
  return row[parts.length] === true;
}

/** `*` any characters, `?` one. Goes back to the last star only, so time grows with the product of both lengths. */
function fitsName(pattern: string, name: string): boolean {
  let [p, n, star, mark] = [0, 0, -1, 0];
  while (n < name.length) {
    if (p < pattern.length && pattern[p] === '*') {
      star = p++;
      mark = n;
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === name[n])) {
      p++;
      n++;
    } else if (star >= 0) {
      p = star + 1;
      n = ++mark;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
