/**
 * Atomic writes: a reader sees the old file or the whole new one, also when the process is killed or the disk fills up.
 * The bytes go to a temporary name in the same folder, are fsynced, and the name is changed.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isQuerentError } from '@querent/core';
import { fileError } from './file-error.ts';

/** What can be written: all bytes at once, text as UTF-8, or pieces one after the other. */
export type FileContent = Uint8Array | string | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/**
 * Writes `path` atomically, making its folders. On failure nothing is left behind and an older file is untouched.
 * @throws QuerentError QRT_FILE with the cause and the way out; an error thrown by `content` itself is passed on when it is coded.
 */
export async function writeFileAtomic(path: string, content: FileContent): Promise<void> {
  const temporary = temporaryBeside(path);
  try {
    await mkdir(dirname(path), { recursive: true });
    const handle = await open(temporary, 'wx');
    try {
      for await (const piece of piecesOf(content)) await writeAll(handle, piece);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined); // the first error is the one worth telling
    throw isQuerentError(cause) ? cause : fileError('write', path, cause);
  }
  await syncFolder(dirname(path));
}

/** A name in the same folder that no one else uses: `.model.safetensors.3f9a….tmp`. */
export function temporaryBeside(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`);
}

/** Makes a rename durable. Some platforms cannot open folders: there the rename alone has to do. */
export async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {
    return;
  }
}

function piecesOf(content: FileContent): Iterable<Uint8Array> | AsyncIterable<Uint8Array> {
  if (typeof content === 'string') return [Buffer.from(content, 'utf8')];
  return content instanceof Uint8Array ? [content] : content;
}

const PIECE = 1 << 30; // one write call takes less than 2 GiB

async function writeAll(handle: Awaited<ReturnType<typeof open>>, bytes: Uint8Array): Promise<void> {
  let done = 0;
  while (done < bytes.byteLength) {
    const { bytesWritten } = await handle.write(bytes, done, Math.min(PIECE, bytes.byteLength - done));
    done += bytesWritten;
  }
}
