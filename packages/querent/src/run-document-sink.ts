/**
 * Results on disk: an object a line in `OUT.<document>.partial` while the run goes on, under its own name when all of it is there. A run
 * that was killed finds the lines that it had written and goes on behind them; a line that was cut is written again. The name of the
 * partial file holds a digest of the document, so that another pipeline never goes on with it.
 */
import { createHash } from 'node:crypto';
import { open, mkdir, rename, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { QuerentError } from '@querent/core';
import type { PipelineDocument } from './pipeline-document.ts';
import { linesOf } from './run-document-source.ts';

type Fields = Readonly<Record<string, unknown>>;

export interface FileSink {
  /** Results that are there from an earlier run. */
  readonly resumed: { readonly count: number; readonly failed: number };
  /** They themselves, in order. */
  previous(): AsyncGenerator<Fields, void, undefined>;
  write(result: Fields): Promise<void>;
  /** Everything is there: gives the file its name. */
  finish(): Promise<void>;
  /** Leaves what there is for the next run. Harmless after `finish`. */
  close(): Promise<void>;
}

const NEWLINE = 10;
const CHUNK_BYTES = 1 << 16;

/** What must be the same for a run to go on. */
export function digestOf({ model, engine, precision, source, stages }: PipelineDocument): string {
  return createHash('sha256').update(JSON.stringify([model, engine, precision, source, stages])).digest('hex').slice(0, 12);
}

/** @throws QuerentError QRT_FILE when it cannot be written there. */
export async function openFileSink(path: string, format: 'jsonl' | 'json', digest: string, options: { readonly restart?: boolean } = {}): Promise<FileSink> {
  const partial = `${path}.${digest}.partial`;
  const handle = await told(path, async () => {
    if ((await stat(path).catch(() => undefined))?.isDirectory() === true) throw new Error('it is a folder');
    await mkdir(dirname(path), { recursive: true });
    return open(partial, options.restart === true ? 'w+' : 'a+');
  });
  let isOpen = true;
  const close = async (): Promise<void> => {
    if (!isOpen) return;
    isOpen = false;
    await handle.close();
  };
  let resumed: { readonly count: number; readonly failed: number };
  try {
    const bytes = await endOfLastLine(handle);
    await handle.truncate(bytes);
    let [count, failed] = [0, 0];
    for await (const { error } of parsed(partial)) {
      count++;
      if (error !== undefined) failed++;
    }
    resumed = { count, failed };
  } catch (error) {
    await close();
    throw error;
  }
  return {
    resumed,
    previous: () => parsed(partial),
    write: (result) => told(path, () => handle.appendFile(lineOf(result))),
    async finish() {
      await told(path, async () => {
        await handle.sync();
        await close();
        if (format === 'jsonl') return rename(partial, path);
        const whole = `${partial}.json`;
        const array = await open(whole, 'w');
        try {
          let separator = '[\n';
          for await (const line of linesOf(partial)) {
            await array.appendFile(separator + line);
            separator = ',\n';
          }
          await array.appendFile(separator === '[\n' ? '[]\n' : '\n]\n');
          await array.sync();
        } finally {
          await array.close();
        }
        await rename(whole, path);
        await rm(partial, { force: true });
      });
    },
    close,
  };
}

/** A result as a line; typed arrays as lists of numbers. */
export function lineOf(result: Fields): string {
  return `${JSON.stringify(result, (_, value: unknown) => (ArrayBuffer.isView(value) && !(value instanceof DataView) ? Array.from(value as Uint8Array) : value))}\n`; // every other view is a typed array
}

/** Bytes up to and with the last newline. */
async function endOfLastLine(handle: FileHandle): Promise<number> {
  let { size } = await handle.stat();
  const buffer = Buffer.alloc(CHUNK_BYTES);
  while (size > 0) {
    const start = Math.max(0, size - CHUNK_BYTES);
    const { bytesRead } = await handle.read(buffer, 0, size - start, start);
    const at = buffer.subarray(0, bytesRead).lastIndexOf(NEWLINE);
    if (at >= 0) return start + at + 1;
    size = start;
  }
  return 0;
}

async function* parsed(file: string): AsyncGenerator<Fields, void, undefined> {
  let number = 0;
  for await (const line of linesOf(file)) {
    number++;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      value = undefined;
    }
    if (typeof value !== 'object' || value === null) throw new QuerentError('QRT_FILE', `${file}:${number} is damaged: it is no JSON object.`, { fix: 'Remove the file, or begin anew (--restart).', details: { file, line: number } });
    yield value as Fields; // an object of JSON
  }
}

async function told<T>(path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (cause instanceof QuerentError) throw cause;
    throw new QuerentError('QRT_FILE', `${path} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}.`, { fix: 'Check the path, its permissions and the space left.', details: { file: path }, cause });
  }
}
