/**
 * CapFilt over a file of any length: rows in (`rows.ts`), the best captions out, in constant memory. A killed run goes on where it was:
 * `OUT.part` is cut back to what `OUT.progress.json` vouches for, and the rows after that are done again, with the same draws.
 */
import { createHash } from 'node:crypto';
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { QuerentError, from, isFailure, mapBounded, parseJson, validate } from '@querent/core';
import type { JsonSchema, LoadedModel } from '@querent/core';
import { fileError, writeWhole } from '../index-store/files.ts';
import { curateImage } from '../curate.ts';
import type { CaptionRanker, CurateInput, CurateOutput } from '../curate.ts';
import { readRows } from './rows.ts';
import type { BadRow, PairRow } from './rows.ts';
import { outputFormat } from './outputs.ts';

export interface CurateFileOptions extends Pick<CurateInput, 'draw' | 'keep' | 'topP' | 'prompt' | 'maxNewTokens' | 'seed'> {
  readonly ranker: CaptionRanker;
  /** Images that are worked on at the same time. Default 2. */
  readonly concurrency?: number;
  /** Rows between two saves of the progress. Default 64. */
  readonly saveEvery?: number;
  /** Begin anew, whatever there is. Default false. */
  readonly restart?: boolean;
  readonly signal?: AbortSignal;
}

/** What happened to a row. */
export type CurateEvent =
  | { readonly type: 'resumed'; readonly row: number }
  | { readonly type: 'row'; readonly index: number; readonly name: string; readonly output?: CurateOutput; readonly error?: Error }
  | { readonly type: 'end'; readonly counts: CurateCounts };

export interface CurateCounts {
  /** Rows that were read. */
  readonly rows: number;
  /** Rows that failed; the output leaves them out. */
  readonly failed: number;
  /** Captions that were kept, and how many of them came with the image. */
  readonly kept: number;
  readonly web: number;
}

interface Progress extends CurateCounts {
  readonly format: 'querent-curate';
  /** What was asked of which input: another run does not go on from here. */
  readonly run: string;
  /** Byte offset in the input of the row to go on from. */
  readonly offset: number;
  /** Bytes of the output that are good. */
  readonly bytes: number;
}

const SAVE_EVERY = 64;
const whole = { type: 'integer', minimum: 0 } as const;
const progressSchema: JsonSchema = {
  type: 'object',
  properties: { format: { const: 'querent-curate' }, run: { type: 'string' }, offset: whole, bytes: whole, rows: whole, failed: whole, kept: whole, web: whole },
  required: ['format', 'run', 'offset', 'bytes', 'rows', 'failed', 'kept', 'web'],
};

/**
 * Curates a file into another. The format of each follows from its name: `.tar` is WebDataset; as output `.json` is annotations that
 * recipes read, anything else JSONL.
 *
 * @throws QuerentError QRT_USAGE when what is there of the output belongs to another run; QRT_DATASET, QRT_FILE.
 */
export async function* curateFile(model: LoadedModel, input: string, output: string, options: CurateFileOptions): AsyncGenerator<CurateEvent, void, undefined> {
  const { ranker, concurrency = 2, saveEvery = SAVE_EVERY, restart = false, signal, seed = 0, ...how } = options;
  const [part, progressFile] = [`${output}.part`, `${output}.progress.json`];
  const format = outputFormat(output);
  const run = await fingerprint(input, [format.name, ranker.name, model.name, seed, how]);
  if (restart) for (const file of [part, progressFile]) await rm(file, { force: true });
  let progress: Progress = (await readProgress(progressFile, part, run)) ?? { format: 'querent-curate', run, offset: 0, bytes: 0, rows: 0, failed: 0, kept: 0, web: 0 };
  const handle = await openPart(part, progress.bytes);
  try {
    if (progress.rows > 0) yield { type: 'resumed', row: progress.rows };
    let { bytes, rows, failed, kept, web, offset } = progress;
    const write = async (data: Buffer): Promise<void> => {
      for (let done = 0; done < data.length; ) done += (await handle.write(data, done, data.length - done, bytes + done)).bytesWritten;
      bytes += data.length;
    };
    if (bytes === 0) await write(format.begin);
    const save = async (): Promise<void> => {
      await handle.sync(); // the output is there before the progress says so
      progress = { format: 'querent-curate', run, offset, bytes, rows, failed, kept, web };
      await writeWhole(progressFile, [Buffer.from(`${JSON.stringify(progress)}\n`)]);
    };
    const source = from(readRows(input, { offset, index: rows }), signal === undefined ? {} : { signal });
    const curated = source.pipe(
      mapBounded((row: PairRow | BadRow, context) => {
        if ('error' in row) throw row.error;
        return curateImage({ ...how, image: row.image, captions: row.captions, ranker, seed: rowSeed(seed, row) }, model, context.signal);
      }, { concurrency, onError: 'item' }),
    );
    for await (const result of curated) {
      const row = result.item;
      let error = isFailure(result) ? result.error : undefined;
      if (!isFailure(result) && !('error' in row)) {
        const data = await format.row(row, result.value, kept === 0).catch((thrown: unknown) => {
          error = fileError('read', row.name, thrown);
        });
        if (data !== undefined) {
          await write(data);
          kept += result.value.captions.length;
          web += result.value.captions.filter((one) => one.source === 'web').length;
        }
      }
      if (error !== undefined) failed++;
      rows++;
      offset = row.next;
      yield { type: 'row', index: row.index, name: row.name, ...(error === undefined && !isFailure(result) ? { output: result.value } : {}), ...(error === undefined ? {} : { error }) };
      if (rows % saveEvery === 0) await save();
    }
    signal?.throwIfAborted();
    await write(format.end);
    await handle.sync();
    await handle.close();
    await rename(part, output);
    await rm(progressFile, { force: true });
    yield { type: 'end', counts: { rows, failed, kept, web } };
  } catch (cause) {
    throw cause instanceof Error && 'errno' in cause ? fileError('write', part, cause) : cause;
  } finally {
    await handle.close().catch(() => undefined); // closed already when all went well
  }
}

/** The draws of a row depend on the row alone, not on where a run began. */
function rowSeed(seed: number, { index, name }: PairRow): number {
  return createHash('sha256').update(`${seed} ${index} ${name}`).digest().readUInt32LE(0);
}

/** One run: the input (size, name, first bytes) and everything that was asked. */
async function fingerprint(input: string, asked: readonly unknown[]): Promise<string> {
  try {
    const handle = await open(input, 'r');
    try {
      const first = Buffer.alloc(65_536);
      const { bytesRead } = await handle.read(first, 0, first.length, 0);
      return createHash('sha256').update(JSON.stringify([basename(input), asked])).update(first.subarray(0, bytesRead)).digest('hex');
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw fileError('read', input, cause);
  }
}

async function readProgress(file: string, part: string, run: string): Promise<Progress | undefined> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const progress = validate<Progress>(progressSchema, parseJson(text, file), { what: file });
  const size = (await stat(part).catch(() => undefined))?.size ?? 0;
  if (progress.run !== run || size < progress.bytes) {
    throw new QuerentError('QRT_USAGE', `${part} was begun with ${progress.run === run ? 'more in it' : 'another input or other options'}.`, { fix: 'Say --restart to begin anew, or name another output.', details: { file: part } });
  }
  return progress;
}

async function openPart(part: string, bytes: number): Promise<FileHandle> {
  try {
    const handle = await open(part, bytes === 0 ? 'w' : 'r+');
    await handle.truncate(bytes);
    return handle;
  } catch (cause) {
    throw fileError('write', part, cause);
  }
}
