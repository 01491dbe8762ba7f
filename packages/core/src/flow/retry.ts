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
  /** Wait before the second attempt, in milliseconds; it doubles before each further one. A server that asks for more (`Retry-After`) gets it. Default 200. */
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

/** What an error about a server's answer carries in its details, for {@link isTransient} and {@link withRetries}. */
export interface AnswerDetails {
  readonly status: number;
  /** What the server asks for with `Retry-After`; absent when it does not say. */
  readonly retryAfterMs?: number;
}

/** The details of an answer that is not what was hoped for. */
export function answerDetails({ status, headers }: Pick<Response, 'headers' | 'status'>): AnswerDetails {
  const waitMs = retryAfterMs(headers.get('retry-after'));
  return { status, ...(waitMs === undefined ? {} : { retryAfterMs: waitMs }) };
}

/**
 * `Retry-After` in milliseconds: a number of seconds or a date.
 *
 * @param value the header; null when there is none
 */
export function retryAfterMs(value: string | null): number | undefined {
  if (value === null) return undefined;
  const text = value.trim();
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

/** What the server that failed asked for, in milliseconds; 0 when it did not say. */
export function requestedWaitMs(error: unknown): number {
  return detailOf(error, 'retryAfterMs') ?? 0;
}

/** A number that a coded error, or one of its causes, carries in its details. */
function detailOf(error: unknown, key: 'status' | 'retryAfterMs'): number | undefined {
  let at = error;
  for (let depth = 0; depth < MAX_DEPTH && typeof at === 'object' && at !== null; depth++) {
    const details = isQuerentError(at) ? at.details : undefined;
    const value = typeof details === 'object' && details !== null ? Object.entries(details).find(([name]) => name === key)?.[1] : undefined;
    if (typeof value === 'number') return value;
    at = 'cause' in at ? at.cause : undefined;
  }
  return undefined;
}

/** May this error be gone the next time? True for the network, a server that is busy or failed (408, 429, 5xx), for busy files and for a failed run, also as the cause of another error. */
export function isTransient(error: unknown): boolean {
  let at = error;
  for (let depth = 0; depth < MAX_DEPTH && typeof at === 'object' && at !== null; depth++) {
    if ('code' in at && typeof at.code === 'string' && TRANSIENT.has(at.code)) return true;
    at = 'cause' in at ? at.cause : undefined;
  }
  const status = detailOf(error, 'status');
  return status !== undefined && (status === 408 || status === 429 || status >= 500);
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
      await wait(options, attempt, error, signal);
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
        await wait(options, attempt, result.error, signal);
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

function wait(options: RetryOptions, attempt: number, error: unknown, signal: AbortSignal): Promise<void> {
  const { backoffMs = BACKOFF_MS, maxBackoffMs = MAX_BACKOFF_MS, sleep = timer } = options;
  const waitMs = Math.max(backoffMs * 2 ** (attempt - 1), requestedWaitMs(error));
  return raceSignal(sleep(Math.min(maxBackoffMs, waitMs), signal), signal);
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
