/**
 * Trying again: a connection that broke, a file that was busy, a device that was out of memory for a moment. What cannot become better
 * (a file that is no picture, a key that does not exist) is not tried twice. Waiting doubles from one attempt to the next.
 *
 *     source            a   b           c
 *     stage             A   ✗ ✗ B       ✗            c fails for good: isWorthRetrying says so
 *     retry(stage)      A   . . B       {c, error}   order is kept: c waits for B
 */
import { isQuerentError } from '../errors.ts';
import { raceSignal } from './cancel.ts';
import { from, stage } from './flow.ts';
import type { Stage } from './flow.ts';
import { DONE } from './pull.ts';

export interface RetryOptions {
  /** Attempts altogether, at least 1. */
  readonly attempts: number;
  /** Wait before the second attempt, in milliseconds; it doubles before each further one. Default 200. */
  readonly backoffMs?: number;
  /** Longest wait, in milliseconds. Default 30 000. */
  readonly maxBackoffMs?: number;
  /** Which errors may be gone the next time. Default {@link isTransient}. */
  readonly isWorthRetrying?: (error: unknown) => boolean;
  /** How it waits; a test's clock. Default a timer that ends with the signal. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

const BACKOFF_MS = 200;
const MAX_BACKOFF_MS = 30_000;

/** Codes of Node and of the network whose cause may pass. */
const TRANSIENT: ReadonlySet<string> = new Set([
  'EAGAIN', 'EAI_AGAIN', 'EBUSY', 'ECONNABORTED', 'ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'EMFILE', 'ENETDOWN', 'ENETUNREACH', 'ENFILE', 'ENOTFOUND',
  'EPIPE', 'ETIMEDOUT', 'QRT_ENGINE_RUN', 'QRT_HUB_UNREACHABLE', 'UND_ERR_BODY_TIMEOUT', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_SOCKET',
]);
/** Causes looked through. */
const MAX_DEPTH = 8;

/** May this error be gone the next time? True for the network, for busy files and for a failed run, also as the cause of another error. */
export function isTransient(error: unknown): boolean {
  let at = error;
  for (let depth = 0; depth < MAX_DEPTH && typeof at === 'object' && at !== null; depth++) {
    if ('code' in at && typeof at.code === 'string' && TRANSIENT.has(at.code)) return true;
    const status = isQuerentError(at) && typeof at.details === 'object' && at.details !== null && 'status' in at.details ? at.details.status : undefined;
    if (typeof status === 'number' && (status === 408 || status === 429 || status >= 500)) return true;
    at = 'cause' in at ? at.cause : undefined;
  }
  return false;
}

/**
 * What `run` gives, tried again as the options say.
 *
 * @throws the last error; the signal's own reason when it aborts, also in the middle of a wait.
 */
export async function withRetries<T>(run: () => T | PromiseLike<T>, options: RetryOptions, signal: AbortSignal): Promise<T> {
  const attempts = attemptsOf(options);
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted();
    try {
      return await run();
    } catch (error) {
      signal.throwIfAborted();
      if (attempt >= attempts || !(options.isWorthRetrying ?? isTransient)(error)) throw error;
      await wait(options, attempt, signal);
    }
  }
}

/**
 * A stage of which items that fail are tried again, each by itself, before the ones after it are handed on. The stage must give one
 * result an item, in order, with the error of a failed one in `error` (as all stages over results do). An item that had failed before
 * the stage is left alone.
 */
export function retry<In, Out extends { readonly error?: Error | undefined }>(inner: Stage<In, Out>, options: RetryOptions): Stage<In, Out> {
  const attempts = attemptsOf(options);
  return stage((upstream, signal) => {
    const taken: In[] = [];
    const noted = {
      [Symbol.asyncIterator]: () => ({
        async next(): Promise<IteratorResult<In, undefined>> {
          const step = await upstream.next();
          if (step.done !== true) taken.push(step.value);
          return step;
        },
        async return(): Promise<IteratorResult<In, undefined>> {
          await upstream.return();
          return DONE;
        },
      }),
    };
    const run = inner(from(noted))[Symbol.asyncIterator]();
    const again = async (item: In, first: Out): Promise<Out> => {
      let result = first;
      for (let attempt = 1; attempt < attempts && isWorth(result, item, options); attempt++) {
        await wait(options, attempt, signal);
        const next = await inner(from([item], { signal }))[Symbol.asyncIterator]().next();
        if (next.done === true) break;
        result = next.value;
      }
      return result;
    };
    return {
      async next() {
        const step = await run.next();
        if (step.done === true) return DONE;
        const item = taken.shift() as In; // one result an item, in order
        return { done: false, value: await again(item, step.value) };
      },
      async return() {
        taken.length = 0;
        await run.return?.();
        await upstream.return();
      },
    };
  });
}

/** Did it fail here, in a way that may pass? */
function isWorth({ error }: { readonly error?: Error | undefined }, item: unknown, options: RetryOptions): boolean {
  if (error === undefined) return false;
  if (typeof item === 'object' && item !== null && 'error' in item && item.error !== undefined) return false;
  return (options.isWorthRetrying ?? isTransient)(error);
}

function wait(options: RetryOptions, attempt: number, signal: AbortSignal): Promise<void> {
  const { backoffMs = BACKOFF_MS, maxBackoffMs = MAX_BACKOFF_MS, sleep = timer } = options;
  return raceSignal(sleep(Math.min(maxBackoffMs, backoffMs * 2 ** (attempt - 1)), signal), signal);
}

function timer(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(waiting);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const waiting = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}

function attemptsOf({ attempts }: RetryOptions): number {
  if (!(attempts >= 1)) throw new RangeError(`${attempts} attempts: expected at least 1`);
  return attempts;
}
