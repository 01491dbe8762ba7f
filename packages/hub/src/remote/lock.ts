/**
 * One process at a time writes a file: a small file beside it, made exclusively, touched while the work goes on. A process that
 * was killed leaves it behind: then it is stale, because its process is gone or because nobody touches it.
 */
import { open, readFile, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { fileError, errnoOf } from '../file-error.ts';

const TOUCH_MS = 5_000;
const STALE_MS = 30_000;
const LOOK_MS = 100;

/**
 * Runs `work` while holding `file`. Waits as long as another process holds it.
 *
 * @throws the signal's reason, QuerentError QRT_FILE, or what `work` throws.
 */
export async function withLock<T>(file: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  await acquire(file, signal);
  const touch = setInterval(() => {
    const now = new Date();
    utimes(file, now, now).catch(() => undefined); // at worst another process looks for ours and finds it alive
  }, TOUCH_MS);
  touch.unref();
  try {
    return await work();
  } finally {
    clearInterval(touch);
    await rm(file, { force: true });
  }
}

async function acquire(file: string, signal: AbortSignal | undefined): Promise<void> {
  for (;;) {
    signal?.throwIfAborted();
    try {
      const handle = await open(file, 'wx');
      await handle.writeFile(`${process.pid} ${hostname()}`);
      await handle.close();
      return;
    } catch (cause) {
      if (errnoOf(cause) !== 'EEXIST') throw fileError('write', file, cause);
    }
    if (await isStale(file)) await rm(file, { force: true });
    else await delay(LOOK_MS);
  }
}

async function isStale(file: string): Promise<boolean> {
  try {
    const [pid, host] = (await readFile(file, 'utf8')).split(' ');
    const { mtimeMs } = await stat(file);
    if (Date.now() - mtimeMs > STALE_MS) return true;
    return host === hostname() && pid !== String(process.pid) && !isRunning(Number(pid));
  } catch {
    return false; // it was let go just now
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}
