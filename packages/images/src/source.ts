/**
 * Where an image comes from, and its bytes: a path, a URL, something in memory or a stream. Everything outside is taken
 * as hostile: sizes are bounded while reading, not after. `decode.ts` turns the bytes into pixels.
 */
import { open } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { QuerentError, answerDetails } from '@querent/core';
import type { ImageSource, RawPixels } from '@querent/core';

export interface ReadLimits {
  readonly maxBytes: number;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Longer timers fire at once in Node. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const URL_SCHEME = /^(https?|file|data):/i;

/** Is this pixels, not an encoded picture? */
export function isRawPixels(source: ImageSource): source is RawPixels {
  return typeof source === 'object' && source !== null && 'data' in source && 'width' in source && 'height' in source;
}

/** What messages call this source. */
export function nameSource(source: ImageSource): string {
  if (typeof source === 'string' || source instanceof URL) {
    const name = String(source);
    return name.length > 200 ? `${name.slice(0, 80)}… (${name.length} characters)` : name;
  }
  if (source instanceof Uint8Array || source instanceof ArrayBuffer) return `an image of ${source.byteLength} bytes in memory`;
  if (source instanceof Blob) return 'name' in source && typeof source.name === 'string' ? source.name : `a Blob of ${source.size} bytes`;
  if (typeof source === 'object' && source !== null && isRawPixels(source)) return `raw pixels ${source.width} × ${source.height}`;
  // Node's file streams carry the path.
  if (typeof source === 'object' && source !== null && 'path' in source && typeof source.path === 'string') return source.path;
  return 'an image stream';
}

/**
 * All bytes of `source`.
 * @throws QuerentError QRT_IMAGE when it cannot be read, QRT_IMAGE_TOO_LARGE beyond `maxBytes`; the signal's reason on abort.
 */
export async function readSource(source: Exclude<ImageSource, RawPixels>, limits: ReadLimits): Promise<Uint8Array> {
  limits.signal?.throwIfAborted();
  const name = nameSource(source);
  if (source instanceof Uint8Array) return checkSize(source, name, limits);
  if (source instanceof ArrayBuffer) return checkSize(new Uint8Array(source), name, limits);
  if (source instanceof Blob) {
    if (source.size > limits.maxBytes) throw tooManyBytes(name, source.size, limits.maxBytes);
    return withDeadline(name, limits, async () => new Uint8Array(await source.arrayBuffer()));
  }
  if (typeof source === 'string' || source instanceof URL) {
    const text = String(source);
    const scheme = URL_SCHEME.exec(text)?.[1]?.toLowerCase();
    if (scheme === 'data') return readDataUrl(text, name, limits);
    if (scheme === 'http' || scheme === 'https') return withDeadline(name, limits, (signal) => fetchBytes(text, name, limits, signal));
    if (scheme === undefined && source instanceof URL) {
      throw unreadable(name, `the scheme ${source.protocol} is not read`, 'Use a file:, http:, https: or data: URL.');
    }
    return withDeadline(name, limits, (signal) => readFile(scheme === 'file' ? pathOf(text, name) : text, name, limits, signal));
  }
  if (typeof source === 'object' && source !== null && Symbol.asyncIterator in source) {
    return withDeadline(name, limits, (signal) => collect(source, name, limits, signal));
  }
  throw new QuerentError('QRT_USAGE', `an image source is ${source === null ? 'null' : typeof source}; a path, URL, bytes, Blob, stream or raw pixels was expected.`);
}

function pathOf(url: string, name: string): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw unreadable(name, 'it is not a usable file: URL', undefined, cause);
  }
}

async function readFile(path: string, name: string, limits: ReadLimits, signal: AbortSignal): Promise<Uint8Array> {
  if (path === '' || path.includes('\0')) throw unreadable(name === '' ? "''" : JSON.stringify(name), 'that is no path');
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw unreadable(name, codeOf(cause) === 'ENOENT' ? 'there is no such file' : `it cannot be opened (${codeOf(cause)})`, undefined, cause);
  });
  try {
    const stat = await file.stat();
    if (stat.isDirectory()) throw unreadable(name, 'it is a folder, an image file was expected', 'Name the files in it one by one.');
    if (stat.size > limits.maxBytes) throw tooManyBytes(name, stat.size, limits.maxBytes);
    // A device or a pipe has no size: read up to the limit.
    const isSized = stat.isFile() && stat.size > 0;
    if (!isSized) return await collect(file.createReadStream({ autoClose: false }), name, limits, signal);
    const bytes = new Uint8Array(stat.size);
    let length = 0;
    while (length < bytes.length) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(bytes, length, bytes.length - length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return bytes.subarray(0, length);
  } finally {
    await file.close();
  }
}

async function fetchBytes(url: string, name: string, limits: ReadLimits, signal: AbortSignal): Promise<Uint8Array> {
  const response = await fetch(url, { signal, headers: { accept: 'image/*' } });
  if (!response.ok) {
    await response.body?.cancel();
    throw unreadable(name, `the server answered ${response.status} ${response.statusText}`.trimEnd(), undefined, undefined, answerDetails(response));
  }
  const size = Number(response.headers.get('content-length') ?? 0);
  if (size > limits.maxBytes) {
    await response.body?.cancel();
    throw tooManyBytes(name, size, limits.maxBytes);
  }
  return response.body ? collect(response.body, name, limits, signal) : new Uint8Array();
}

function readDataUrl(url: string, name: string, limits: ReadLimits): Uint8Array {
  const comma = url.indexOf(',');
  if (comma < 0) throw unreadable(name, 'it is not a complete data: URL');
  const isBase64 = /;\s*base64\s*$/i.test(url.slice(0, Math.min(comma, 1000)));
  const size = isBase64 ? Math.floor(((url.length - comma - 1) * 3) / 4) : url.length - comma - 1;
  if (size > limits.maxBytes) throw tooManyBytes(name, size, limits.maxBytes);
  try {
    const body = decodeURIComponent(url.slice(comma + 1));
    return Buffer.from(body, isBase64 ? 'base64' : 'latin1');
  } catch (cause) {
    throw unreadable(name, 'it is not a well-formed data: URL', undefined, cause);
  }
}

/** Reads a stream to its end; leaving early (limit, abort) closes it. */
async function collect(stream: AsyncIterable<unknown>, name: string, limits: ReadLimits, signal: AbortSignal): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    signal.throwIfAborted();
    if (!(chunk instanceof Uint8Array)) throw unreadable(name, `the stream gave a ${typeof chunk}, bytes were expected`);
    size += chunk.length;
    if (size > limits.maxBytes) throw tooManyBytes(name, size, limits.maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

/** Runs `read` until the caller's signal or the deadline ends it; a stream that never answers is left behind. */
async function withDeadline(name: string, limits: ReadLimits, read: (signal: AbortSignal) => Promise<Uint8Array>): Promise<Uint8Array> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(timedOut(name, limits.timeoutMs)), Math.min(limits.timeoutMs, LONGEST_TIMER_MS));
  const forward = (): void => stop.abort(limits.signal?.reason);
  limits.signal?.addEventListener('abort', forward, { once: true });
  const stopped = new Promise<never>((_, reject) => {
    stop.signal.addEventListener('abort', () => reject(stop.signal.reason), { once: true });
  });
  try {
    return await Promise.race([read(stop.signal), stopped]);
  } catch (error) {
    if (stop.signal.aborted || error instanceof QuerentError) throw error;
    throw unreadable(name, describe(error), undefined, error);
  } finally {
    clearTimeout(timer);
    limits.signal?.removeEventListener('abort', forward);
  }
}

function checkSize(bytes: Uint8Array, name: string, limits: ReadLimits): Uint8Array {
  if (bytes.length > limits.maxBytes) throw tooManyBytes(name, bytes.length, limits.maxBytes);
  return bytes;
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : describe(error);
}

function unreadable(name: string, reason: string, fix?: string, cause?: unknown, details: object = {}): QuerentError {
  return new QuerentError('QRT_IMAGE', `${name} cannot be read: ${reason}.`, {
    ...(fix === undefined ? {} : { fix }),
    ...(cause === undefined ? {} : { cause }),
    details: { source: name, ...details },
  });
}

function timedOut(name: string, timeoutMs: number): QuerentError {
  return new QuerentError('QRT_IMAGE', `${name} was not read within ${timeoutMs} ms.`, {
    fix: 'Raise `timeoutMs`, or fetch the file first.',
    details: { source: name, timeoutMs },
  });
}

function tooManyBytes(name: string, bytes: number, maxBytes: number): QuerentError {
  return new QuerentError('QRT_IMAGE_TOO_LARGE', `${name} has ${bytes} bytes or more, the limit is ${maxBytes}.`, {
    fix: 'Raise `maxBytes` if you trust the source.',
    details: { source: name, bytes, maxBytes },
  });
}
