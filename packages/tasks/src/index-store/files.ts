/** Files of an index: written whole or not at all, and by one process at a time. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { QuerentError, isQuerentError } from '@querent/core';

/** Size and checksum of a file that a manifest vouches for. */
export interface FileSeal {
  readonly bytes: number;
  readonly crc32: number;
}

/** The system's code of an error (`ENOENT`), when it has one. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** @throws QuerentError QRT_FILE, with the cause. */
export function fileError(action: 'read' | 'write', file: string, cause: unknown): QuerentError {
  if (isQuerentError(cause)) return cause;
  return new QuerentError('QRT_FILE', `Cannot ${action} ${file}: ${cause instanceof Error ? cause.message : String(cause)}.`, {
    fix: 'Check the path, its permissions and the space on its disk.',
    details: { file, errno: errnoOf(cause) },
    cause,
  });
}

/** Writes pieces under a temporary name, fsyncs, and changes the name. A reader sees the old file or the new one. */
export async function writeWhole(file: string, pieces: readonly Uint8Array[]): Promise<FileSeal> {
  const temporary = join(dirname(file), `.${randomBytes(6).toString('hex')}.tmp`);
  let seal: FileSeal = { bytes: 0, crc32: 0 };
  try {
    await mkdir(dirname(file), { recursive: true });
    const handle = await open(temporary, 'wx');
    try {
      for (const piece of pieces) {
        for (let done = 0; done < piece.byteLength; ) done += (await handle.write(piece, done)).bytesWritten;
        seal = { bytes: seal.bytes + piece.byteLength, crc32: crc32(piece, seal.crc32) };
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
    await syncFolder(dirname(file));
    return seal;
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined); // the first error is the one worth telling
    throw fileError('write', file, cause);
  }
}

/** Makes a rename durable. Some platforms cannot open folders: there the rename alone has to do. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

/** The bytes of a file, checked against its seal. @throws QuerentError QRT_STORE when they are others. */
export async function readSealed(file: string, seal: FileSeal): Promise<Buffer<ArrayBuffer>> {
  let bytes: Buffer<ArrayBuffer>;
  try {
    const handle = await open(file, 'r');
    try {
      const { size } = await handle.stat();
      if (size !== seal.bytes) throw damaged(file, `it has ${size} bytes, the manifest says ${seal.bytes}`);
      bytes = Buffer.alloc(size);
      for (let done = 0; done < size; ) {
        const { bytesRead } = await handle.read(bytes, done, Math.min(size - done, 1 << 30), done);
        if (bytesRead === 0) throw damaged(file, 'it ends early');
        done += bytesRead;
      }
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw fileError('read', file, cause);
  }
  if (crc32(bytes) !== seal.crc32) throw damaged(file, 'its checksum is not the one in the manifest');
  return bytes;
}

export function damaged(file: string, what: string): QuerentError {
  return new QuerentError('QRT_STORE', `The index is damaged: ${file}: ${what}.`, { fix: 'Delete the index folder and run `querent index` again.', details: { file } });
}

/**
 * Takes the writer's place of a folder until the lock is disposed. A lock that a killed process left is taken over.
 *
 * @throws QuerentError QRT_STORE when another process is writing.
 */
export async function lockFolder(folder: string): Promise<AsyncDisposable> {
  const file = join(folder, 'writer.lock');
  for (let tries = 0; ; tries++) {
    try {
      await mkdir(folder, { recursive: true });
      const handle = await open(file, 'wx');
      await handle.write(String(process.pid));
      await handle.close();
      return { [Symbol.asyncDispose]: () => rm(file, { force: true }) };
    } catch (cause) {
      if (errnoOf(cause) !== 'EEXIST') throw fileError('write', file, cause);
    }
    const holder = Number(await readFile(file, 'utf8').catch(() => ''));
    if (tries > 3 || isAlive(holder)) {
      throw new QuerentError('QRT_STORE', `${folder} is being written by process ${holder || '?'}.`, { fix: `Wait for it. If there is no such process, delete ${file}.`, details: { folder, process: holder } });
    }
    await rm(file, { force: true });
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}
