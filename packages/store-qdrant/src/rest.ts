/** The part of Qdrant's REST that is used here (https://api.qdrant.tech), over fetch: JSON in, `result` out, a coded error else. */
import { QuerentError } from '@querent/core';

export interface Rest {
  /** @returns `result` of the answer; undefined for 404 where `isMissingFine`. */
  call(method: 'GET' | 'PUT' | 'POST', path: string, body?: object, options?: { readonly signal?: AbortSignal; readonly isMissingFine?: boolean }): Promise<unknown>;
}

const TIMEOUT_MS = 60_000;
/** Answers beyond this are not read. */
const MAX_BYTES = 256 << 20;

export function createRest(base: URL, apiKey: string | undefined): Rest {
  const headers = { 'content-type': 'application/json', ...(apiKey === undefined ? {} : { 'api-key': apiKey }) };
  return {
    async call(method, path, body, { signal, isMissingFine = false } = {}) {
      const url = new URL(path, base);
      const where = `${method} ${url.href}`;
      const timeout = AbortSignal.timeout(TIMEOUT_MS);
      let status: number;
      let text: string;
      try {
        const response = await fetch(url, {
          method,
          headers,
          signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        });
        status = response.status;
        text = await bounded(response, where);
      } catch (cause) {
        signal?.throwIfAborted();
        if (cause instanceof QuerentError) throw cause;
        throw new QuerentError('QRT_STORE', `Qdrant does not answer: ${where} (${reasonOf(cause)}).`, { fix: 'Is the server running, and is the address right? It is http://HOST:6333/COLLECTION.', details: { url: url.href }, cause });
      }
      if (status === 404 && isMissingFine) return undefined;
      const answer = parse(text);
      if (status >= 200 && status < 300 && answer !== undefined && 'result' in answer) return answer['result'];
      throw new QuerentError('QRT_STORE', `Qdrant refused ${where} with ${status}: ${text.slice(0, 300)}`, {
        fix: status === 401 || status === 403 ? 'Set QDRANT_API_KEY to the key of this server.' : 'Multivectors need Qdrant 1.10 or later.',
        details: { url: url.href, status },
      });
    },
  };
}

async function bounded(response: Response, where: string): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of response.body ?? []) {
    bytes += piece.byteLength;
    if (bytes > MAX_BYTES) throw new QuerentError('QRT_STORE', `The answer to ${where} is longer than ${MAX_BYTES} bytes.`, { fix: 'Is this address a Qdrant server?' });
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

function parse(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined; // read field by field
  } catch {
    return undefined;
  }
}

function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  return cause.cause instanceof Error ? cause.cause.message : cause.message;
}
