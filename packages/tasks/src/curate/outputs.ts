/** Curated rows as files: JSONL, WebDataset, or annotations that training reads. Each is a beginning, a piece a row, and an end, so that it can be cut at any row. */
import { createReadStream } from 'node:fs';
import { QuerentError, answerDetails } from '@querent/core';
import type { ImageSource } from '@querent/core';
import type { CurateOutput } from '../curate.ts';
import type { PairRow } from './rows.ts';
import { isArchive } from './rows.ts';
import { TAR_END, tarEntry } from './tar.ts';

export interface OutputFormat {
  readonly name: 'jsonl' | 'webdataset' | 'annotations';
  readonly begin: Buffer;
  readonly end: Buffer;
  /** @param isFirst nothing was written before it */
  row(row: PairRow, output: CurateOutput, isFirst: boolean): Promise<Buffer>;
}

const NOTHING = Buffer.alloc(0);
/** A larger picture does not go into an archive. */
const MAX_PICTURE_BYTES = 64 << 20;

/** What a row says of its captions, whatever the format. */
function described(row: PairRow, { captions }: CurateOutput): Record<string, unknown> {
  return { ...row.rest, captions: captions.map(({ caption }) => caption), scores: captions.map(({ score }) => score), sources: captions.map(({ source }) => source) };
}

/** The format that a file's name asks for. */
export function outputFormat(file: string): OutputFormat {
  if (isArchive(file)) {
    return {
      name: 'webdataset',
      begin: NOTHING,
      end: TAR_END,
      async row(row, output) {
        const key = String(row.index).padStart(9, '0');
        const extension = /\.([A-Za-z0-9]{1,5})$/.exec(row.name)?.[1]?.toLowerCase() ?? 'jpg';
        const picture = await pictureOf(row.image, row.name);
        const json = Buffer.from(JSON.stringify({ ...described(row, output), name: row.name }));
        return Buffer.concat([tarEntry(`${key}.${extension}`, picture), tarEntry(`${key}.json`, json), tarEntry(`${key}.txt`, Buffer.from(output.captions[0]?.caption ?? ''))]);
      },
    };
  }
  if (file.toLowerCase().endsWith('.json')) {
    return {
      name: 'annotations',
      begin: Buffer.from('{"images":[\n'),
      end: Buffer.from('\n]}\n'),
      row(row, output, isFirst) {
        const image = { filename: row.name, split: 'train', sentences: output.captions.map(({ caption }) => ({ raw: caption })) };
        return Promise.resolve(Buffer.from(`${isFirst ? '' : ',\n'}${JSON.stringify(image)}`));
      },
    };
  }
  return {
    name: 'jsonl',
    begin: NOTHING,
    end: NOTHING,
    row: (row, output) => Promise.resolve(Buffer.from(`${JSON.stringify({ image: row.name, ...described(row, output) })}\n`)),
  };
}

async function fetchPicture(url: string, name: string): Promise<AsyncIterable<Uint8Array> | undefined> {
  const response = await fetch(url);
  if (response.ok) return response.body ?? undefined;
  await response.body?.cancel();
  throw new QuerentError('QRT_IMAGE', `${name} cannot be read: the server answered ${response.status}.`, { details: { source: name, ...answerDetails(response) } });
}

/** The bytes of a row's picture, as they are. */
async function pictureOf(image: ImageSource, name: string): Promise<Uint8Array> {
  if (image instanceof Uint8Array) return image;
  if (typeof image !== 'string') throw new QuerentError('QRT_DATASET', `${name} cannot be copied into an archive.`, { fix: 'Write JSONL instead.' });
  const isUrl = /^(https?|data):/i.test(image);
  const source: AsyncIterable<Uint8Array> | undefined = isUrl ? await fetchPicture(image, name) : createReadStream(image);
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of source ?? []) {
    bytes += part.length;
    if (bytes > MAX_PICTURE_BYTES) throw new QuerentError('QRT_IMAGE_TOO_LARGE', `${name} has more than ${MAX_PICTURE_BYTES} bytes.`, { fix: 'Write JSONL instead.' });
    parts.push(part);
  }
  return Buffer.concat(parts);
}
