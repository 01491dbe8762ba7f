/**
 * One guarded request: redirects are followed by hand (few, never from https to http, the token only to the hub itself), a
 * silent server is given up, every failure has a code. `readBounded` reads what is small.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { QuerentError, answerDetails, isAborted, isQuerentError, linkSignals, requestedWaitMs } from '@querent/core';
import { fetchByProxy } from './proxy.ts';
import type { HubSettings } from './settings.ts';

const REDIRECTS = 5;

/** Answers of the hub's API are a few kilobytes; a page of a large repository's files about one megabyte. */
export const JSON_LIMIT_BYTES: number = 16 * 1024 * 1024;

export interface RequestOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** An answer whose body stalls or breaks with a coded error. */
export interface HubAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** Pieces as they come, once; leaving the loop ends the connection. */
  pieces(): AsyncGenerator<Uint8Array, void, undefined>;
  /** Lets the connection go without reading. */
  discard(): Promise<void>;
}

/**
 * Sends a GET and waits for the headers of an answer that is no redirect; its status may be anything else.
 *
 * @throws QuerentError QRT_HUB_UNREACHABLE (may be tried again), QRT_HUB_RESPONSE for a redirect that is not followed, or the signal's reason.
 */
export async function request(url: URL, settings: HubSettings, options: RequestOptions = {}): Promise<HubAnswer> {
  let at = url;
  for (let redirects = 0; ; redirects++) {
    const answer = await send(at, settings, options);
    const location = answer.headers.get('location');
    if (answer.status < 300 || answer.status >= 400 || answer.status === 304 || location === null) return answer;
    await answer.discard();
    const next = URL.canParse(location, at.href) ? new URL(location, at) : undefined;
    const isSafe = next !== undefined && (next.protocol === 'https:' || (next.protocol === 'http:' && at.protocol === 'http:'));
    if (!isSafe) throw lie(`${shown(at)} redirects to ${JSON.stringify(location.slice(0, 200))}, which is not followed`);
    if (redirects === REDIRECTS) throw lie(`${shown(url)} redirects more than ${REDIRECTS} times`);
    at = next;
  }
}

/** Repeats what fails with QRT_HUB_UNREACHABLE, waiting longer each time. */
export async function retrying<T>(settings: HubSettings, signal: AbortSignal | undefined, once: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once();
    } catch (error) {
      if (!isUnreachable(error) || attempt >= settings.attempts) throw error;
      await pause(settings, attempt, signal, error);
    }
  }
}

/** Longest wait before another attempt, whatever the hub asks for. */
const MAX_WAIT_MS = 30_000;

/** The wait after the `attempt`th failure; longer when the hub asked for more with that failure. @throws the signal's reason */
export async function pause(settings: HubSettings, attempt: number, signal: AbortSignal | undefined, failure?: unknown): Promise<void> {
  const waitMs = Math.min(Math.max(settings.retryDelayMs * 2 ** (attempt - 1), requestedWaitMs(failure)), MAX_WAIT_MS);
  await delay(waitMs, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
    throw signal?.aborted === true ? signal.reason : error;
  });
}

export function isUnreachable(error: unknown): boolean {
  return isQuerentError(error) && error.code === 'QRT_HUB_UNREACHABLE';
}

/**
 * The body as bytes.
 *
 * @throws QuerentError QRT_HUB_RESPONSE when it is longer than `limit`: nothing more is read then.
 */
export async function readBounded(answer: HubAnswer, limit: number, what: string): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of answer.pieces()) {
    bytes += piece.byteLength;
    if (bytes > limit) throw lie(`${what} is longer than ${limit} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** The error for a status that is not what was hoped for. HuggingFace says more in `X-Error-Code`. */
export function statusError(status: number, headers: Headers, url: URL, what: string, hasToken: boolean): QuerentError {
  const said = headers.get('x-error-code') ?? '';
  const details = { ...answerDetails({ status, headers }), url: shown(url), code: said };
  if (said === 'GatedRepo' || status === 403) {
    return new QuerentError('QRT_HUB_ACCESS', `The hub does not give ${what}: its terms have to be accepted first, or the token may not read it (${status}).`, {
      fix: hasToken ? 'Accept them on the model’s page with the account of this token, or use a token that may read it.' : 'Accept them on the model’s page, then set HF_TOKEN to a token of that account.',
      details,
    });
  }
  if (status === 401 || status === 404 || said === 'RepoNotFound') {
    const isRefused = status === 401 && said !== 'RepoNotFound';
    return new QuerentError(isRefused ? 'QRT_HUB_ACCESS' : 'QRT_HUB_NOT_FOUND', isRefused ? `The hub wants a token for ${what}, ${hasToken ? 'and does not take this one' : 'and none is set'} (401).` : `The hub has no ${what} (${status}).`, {
      fix: hasToken ? 'Check the name and the revision, and that the token may read it.' : 'Check the name and the revision; a private model needs HF_TOKEN.',
      details,
    });
  }
  if (status === 408 || status === 429 || status >= 500) return new QuerentError('QRT_HUB_UNREACHABLE', `The hub failed with status ${status} when asked for ${what}.`, { fix: 'Try again later: what has arrived is kept.', details });
  return new QuerentError('QRT_HUB_RESPONSE', `The hub answered with status ${status} when asked for ${what}.`, { fix: 'Check HF_ENDPOINT.', details });
}

/** @param what begins the message */
export function lie(what: string, details: object = {}): QuerentError {
  return new QuerentError('QRT_HUB_RESPONSE', `${what}.`, { fix: 'Try again; if it stays, the hub at HF_ENDPOINT is broken or not to be trusted.', details });
}

/** An address without what may be secret in it. */
function shown(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

/** One request, one answer. The timer runs until the headers are there, then again for each piece. */
async function send(url: URL, settings: HubSettings, options: RequestOptions): Promise<HubAnswer> {
  const { controller, unlink } = linkSignals(options.signal === undefined ? [] : [options.signal]);
  const headers: Record<string, string> = { 'accept-encoding': 'identity', 'user-agent': 'querent', ...options.headers };
  if (settings.token !== undefined && url.origin === settings.endpoint.origin) headers['authorization'] = `Bearer ${settings.token}`;
  const stalled = unreachable(url, `has sent nothing for ${settings.stallMs / 1000} seconds`);
  let timer: NodeJS.Timeout | undefined;
  const within = async <T>(work: Promise<T>): Promise<T> => {
    timer = setTimeout(() => controller.abort(stalled), settings.stallMs);
    try {
      return await work;
    } catch (cause) {
      if (controller.signal.aborted) throw controller.signal.reason;
      throw isAborted(options.signal, cause) ? options.signal?.reason : unreachable(url, `failed: ${reasonOf(cause)}`, cause);
    } finally {
      clearTimeout(timer);
    }
  };
  let response: Response;
  try {
    response = await within(fetchByProxy(url, { redirect: 'manual', headers, signal: controller.signal }));
  } catch (error) {
    unlink();
    throw error;
  }
  return {
    status: response.status,
    headers: response.headers,
    async *pieces() {
      const reader = response.body?.getReader();
      try {
        while (reader !== undefined) {
          const { done, value } = await within(reader.read());
          if (done) return;
          yield value;
        }
      } finally {
        unlink();
        await reader?.cancel().catch(() => undefined); // the connection is gone already
      }
    },
    async discard() {
      unlink();
      await response.body?.cancel().catch(() => undefined); // the connection is gone already
    },
  };
}

function unreachable(url: URL, what: string, cause?: unknown): QuerentError {
  return new QuerentError('QRT_HUB_UNREACHABLE', `The hub (${url.origin}) ${what}.`, {
    fix: 'Check the network and HF_ENDPOINT, then run it again: what has arrived is kept. HF_HUB_OFFLINE=1 uses the cache alone.',
    details: { url: shown(url) },
    cause,
  });
}

/** `fetch failed` hides the cause one level down. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (!(cause instanceof Error)) return error.message;
  return 'code' in cause && typeof cause.code === 'string' ? `${cause.code} ${cause.message}`.trim() : cause.message;
}
