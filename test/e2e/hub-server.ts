/**
 * A hub of our own on loopback: the two calls of HuggingFace's API and its file addresses, over files in memory. It can be told to
 * fail, to stall and to lie, once or always, for each address.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface HubRepo {
  /** A commit's full name. */
  readonly commit: string;
  readonly files: ReadonlyMap<string, Buffer>;
  /** Files that are kept by LFS: `.safetensors` ones when absent. */
  readonly isLarge?: (path: string) => boolean;
}

/** Answers in the server's place; false lets it go on as usual. */
export type Trick = (request: IncomingMessage, response: ServerResponse, count: number) => boolean | void | Promise<boolean | void>;

export interface TestHub extends AsyncDisposable {
  readonly endpoint: string;
  /** `GET /path` of everything that was asked, in order, with its Range. */
  readonly requests: { readonly path: string; readonly range: string | undefined; readonly authorization: string | undefined }[];
  /** What addresses that contain `part` answer. */
  trick(part: string, trick: Trick): void;
}

/** @param repos by `org/name`; branch `main` is their commit */
export async function startHub(repos: Readonly<Record<string, HubRepo>>): Promise<TestHub> {
  const tricks: { readonly part: string; readonly trick: Trick; count: number }[] = [];
  const requests: TestHub['requests'] = [];
  const server: Server = createServer((request, response) => {
    void (async () => {
      const path = decodeURIComponent((request.url ?? '').split('?')[0] ?? '');
      requests.push({ path, range: request.headers.range, authorization: request.headers.authorization });
      for (const one of tricks) if (path.includes(one.part) && (await one.trick(request, response, ++one.count)) !== false) return;
      answer(path, request, response, repos);
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo; // it listens on TCP
  return {
    endpoint: `http://127.0.0.1:${port}`,
    requests,
    trick: (part, trick) => void tricks.unshift({ part, trick, count: 0 }),
    [Symbol.asyncDispose]: () => new Promise((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    }),
  };
}

function answer(path: string, request: IncomingMessage, response: ServerResponse, repos: Readonly<Record<string, HubRepo>>): void {
  const [, name = '', rest = ''] = /^\/(?:api\/models\/)?([^/]+\/[^/]+)\/(.*)$/s.exec(path) ?? [];
  const repo = repos[name];
  if (repo === undefined) return refuse(response, 404, 'RepoNotFound');
  const isRevision = (text: string): boolean => text === 'main' || text === repo.commit;
  if (path.startsWith('/api/models/')) {
    const [, verb, revision = ''] = /^(revision|tree)\/(.*)$/s.exec(rest) ?? [];
    if (verb === undefined || !isRevision(revision)) return refuse(response, 404, 'RevisionNotFound');
    return sendJson(response, verb === 'revision' ? { _id: '1', id: name, sha: repo.commit, private: false, downloads: 0, likes: 0, gated: false, lastModified: '2026-01-01T00:00:00.000Z' } : treeOf(repo));
  }
  const [, revision = '', file = ''] = /^resolve\/([^/]+)\/(.*)$/s.exec(rest) ?? [];
  const bytes = repo.files.get(file);
  if (bytes === undefined || !isRevision(revision)) return refuse(response, 404, 'EntryNotFound');
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const part = bytes.subarray(start);
  response.writeHead(start > 0 ? 206 : 200, {
    'content-length': part.length,
    'accept-ranges': 'bytes',
    ...(start > 0 ? { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {}),
  });
  response.end(part);
}

/** The rows of the API's file list. */
export function treeOf({ files, isLarge = (path) => path.endsWith('.safetensors') }: HubRepo): object[] {
  return [...files].map(([path, bytes]) => ({
    type: 'file',
    path,
    size: bytes.length,
    oid: createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex'),
    ...(isLarge(path) ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } } : {}),
  }));
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function sendJson(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}

export function refuse(response: ServerResponse, status: number, code?: string): void {
  response.writeHead(status, { 'content-type': 'application/json', ...(code === undefined ? {} : { 'x-error-code': code }) });
  response.end(JSON.stringify({ error: `status ${status}` }));
}
