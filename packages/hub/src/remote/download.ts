/**
 * One file from the hub, or nothing: the bytes go to `….incomplete`, which a later run goes on with (HTTP Range), are checked
 * against the announced length and checksum, synced, and take their name in one step.
 */
import { createHash, type Hash } from 'node:crypto';
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isQuerentError } from '@querent/core';
import { fileError } from '../file-error.ts';
import { syncFolder } from '../file-write.ts';
import type { Checksum } from './listing.ts';
import { withLock } from './lock.ts';
import { isUnreachable, lie, pause, request, statusError, type HubAnswer } from './request.ts';
import type { HubSettings } from './settings.ts';

export interface DownloadRequest {
  readonly url: URL;
  /** Where the file shall lie. */
  readonly target: string;
  readonly bytes: number;
  readonly checksum: Checksum;
  /** For messages: `model.safetensors of org/name`. */
  readonly what: string;
  readonly settings: HubSettings;
  readonly signal?: AbortSignal;
  /** How many bytes of the file are here; may step back when it has to start again. */
  readonly onBytes?: (bytes: number) => void;
}

/**
 * Downloads what is not there yet. Two processes that want the same file take turns; the second finds it.
 *
 * @throws QuerentError QRT_HUB_RESPONSE when what came is not what was announced, QRT_HUB_UNREACHABLE after some attempts,
 *   QRT_HUB_ACCESS, QRT_HUB_NOT_FOUND, QRT_FILE; or the signal's reason.
 */
export async function download(wanted: DownloadRequest): Promise<void> {
  const { target, bytes, signal, onBytes } = wanted;
  if (await isThere(target)) return onBytes?.(bytes);
  try {
    await mkdir(dirname(target), { recursive: true });
  } catch (cause) {
    throw fileError('write', target, cause);
  }
  await withLock(`${target}.lock`, signal, async () => {
    if (await isThere(target)) return onBytes?.(bytes);
    const part = `${target}.incomplete`;
    const handle = await opened(part);
    try {
      await fill(handle, wanted);
      await handle.sync();
    } catch (cause) {
      await handle.close();
      if (isQuerentError(cause) && cause.code === 'QRT_HUB_RESPONSE') await rm(part, { force: true }); // a lie is no beginning
      throw isQuerentError(cause) || signal?.aborted === true ? cause : fileError('write', part, cause);
    }
    await handle.close();
    await rename(part, target).catch((cause: unknown) => {
      throw fileError('write', target, cause);
    });
    await syncFolder(dirname(target));
  });
}

/** Gets the rest of the file until it is whole and its checksum is right. */
async function fill(handle: FileHandle, wanted: DownloadRequest): Promise<void> {
  const { bytes, checksum, settings, signal, onBytes, what } = wanted;
  let hash = newHash(checksum, bytes);
  let done = 0;
  const again = async (): Promise<void> => {
    await handle.truncate(0);
    [hash, done] = [newHash(checksum, bytes), 0];
  };
  const { size } = await handle.stat();
  if (size <= bytes) done = await hashed(handle, size, hash);
  else await again();
  let isOlder = done > 0; // bytes of an earlier run, perhaps of another program
  onBytes?.(done);

  for (let failures = 0; ; ) {
    if (done === bytes) {
      if (hash.copy().digest('hex') === checksum.digest) return;
      if (!isOlder) throw lie(`${what} came with another checksum than the hub had announced (${checksum.digest})`);
      await again();
      isOlder = false;
    }
    const before = done;
    try {
      const answer = await asked(wanted, done);
      if (done > 0 && answer.status === 200) await again(); // no ranges here
      for await (const piece of answer.pieces()) {
        if (done + piece.byteLength > bytes) throw lie(`${what} is longer than the ${bytes} bytes that the hub had announced`);
        await writeAll(handle, piece, done);
        hash.update(piece);
        done += piece.byteLength;
        onBytes?.(done);
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (!isUnreachable(error)) throw error;
      failures = done > before ? 1 : failures + 1;
      if (failures >= settings.attempts) throw error;
      await pause(settings, failures, signal, error);
      continue;
    }
    if (done < bytes) {
      failures = done > before ? 1 : failures + 1;
      if (failures >= settings.attempts) throw lie(`${what} ends after ${done} of the ${bytes} bytes that the hub had announced`);
      await pause(settings, failures, signal);
    }
  }
}

/** The answer that has the file from `done` on, or the whole of it. */
async function asked({ url, bytes, settings, signal, what }: DownloadRequest, done: number): Promise<HubAnswer> {
  const answer = await request(url, settings, {
    ...(done > 0 ? { headers: { range: `bytes=${done}-` } } : {}),
    ...(signal === undefined ? {} : { signal }),
  });
  const refuse = async (error: unknown): Promise<never> => {
    await answer.discard();
    throw error;
  };
  const { status, headers } = answer;
  if (status !== 200 && !(status === 206 && done > 0)) await refuse(statusError(status, headers, url, what, settings.token !== undefined));
  const range = headers.get('content-range');
  if (status === 206 && range !== null && !range.startsWith(`bytes ${done}-`)) await refuse(lie(`${what} was asked for from byte ${done} on; the hub sends ${JSON.stringify(range.slice(0, 80))}`));
  const announced = headers.get('content-length');
  const left = status === 206 ? bytes - done : bytes;
  if (announced !== null && Number(announced) !== left) await refuse(lie(`${what} has ${bytes} bytes by the hub's list; ${announced} are sent where ${left} are missing`));
  return answer;
}

/** git hashes a blob with its kind and length in front. */
function newHash({ algorithm }: Checksum, bytes: number): Hash {
  return algorithm === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${bytes}\0`);
}

/** Feeds the first `size` bytes to the hash. */
async function hashed(handle: FileHandle, size: number, hash: Hash): Promise<number> {
  const buffer = new Uint8Array(Math.min(size, 1 << 20));
  let done = 0;
  while (done < size) {
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.byteLength, size - done), done);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    done += bytesRead;
  }
  return done;
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  let done = 0;
  while (done < bytes.byteLength) done += (await handle.write(bytes, done, bytes.byteLength - done, at + done)).bytesWritten;
}

/** For reading and writing, what is there kept. */
async function opened(file: string): Promise<FileHandle> {
  try {
    await (await open(file, 'a')).close();
    return await open(file, 'r+');
  } catch (cause) {
    throw fileError('write', file, cause);
  }
}

async function isThere(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}
