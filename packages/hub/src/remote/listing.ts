/**
 * What a repository holds at a revision: the commit and its files with their checksums. The two calls of the hub's API are
 * `@huggingface/hub`'s; it is given our guarded request as its `fetch`, so that a hub which stalls, lies or never ends is refused here.
 * Every name and checksum that comes back becomes a path in the cache: nothing is taken as it is.
 */
import { isQuerentError } from '@querent/core';
import { lie, readBounded, request, retrying, statusError, JSON_LIMIT_BYTES } from './request.ts';
import { isCommit, type RepoName } from './repo-name.ts';
import type { HubSettings } from './settings.ts';

/** How a file's bytes are checked: LFS names a SHA-256, git the SHA-1 of a blob object. */
export interface Checksum {
  readonly algorithm: 'sha256' | 'git-sha1';
  /** Lower-case hexadecimal; the blob's name in the cache. */
  readonly digest: string;
}

export interface RemoteFile {
  /** Relative to the repository, forward slashes. */
  readonly path: string;
  readonly bytes: number;
  readonly checksum: Checksum;
}

export interface Listing {
  readonly commit: string;
  readonly files: ReadonlyMap<string, RemoteFile>;
}

/** More files than any model has; a listing that goes on is no listing. */
const FILES_LIMIT = 20_000;
const REQUESTS_LIMIT = 64;

/**
 * @throws QuerentError QRT_HUB_NOT_FOUND, QRT_HUB_ACCESS, QRT_HUB_UNREACHABLE, QRT_HUB_RESPONSE.
 */
export async function listRepository({ repo, revision }: RepoName, settings: HubSettings, signal?: AbortSignal): Promise<Listing> {
  const { listFiles, modelInfo } = await import('@huggingface/hub'); // only who downloads pays for loading it
  const what = `model ${repo} at ${revision}`;
  const hubUrl = settings.endpoint.href.replace(/\/+$/, '');
  const guarded = guardedFetch(settings, what, signal);
  try {
    const { sha } = await modelInfo({ name: repo, revision, additionalFields: ['sha'], hubUrl, fetch: guarded });
    if (typeof sha !== 'string' || !isCommit(sha)) throw lie(`The hub says that ${what} is commit ${JSON.stringify(sha)?.slice(0, 80)}`);
    if (isCommit(revision) && sha !== revision) throw lie(`The hub was asked for commit ${revision} of ${repo} and gave ${sha}`);
    const files = new Map<string, RemoteFile>();
    let count = 0;
    for await (const entry of listFiles({ repo: { type: 'model', name: repo }, revision: sha, recursive: true, hubUrl, fetch: guarded })) {
      if (++count > FILES_LIMIT) throw lie(`The hub lists more than ${FILES_LIMIT} files of ${what}`);
      const file = remoteFile(entry, what);
      if (file !== undefined) files.set(file.path, file);
    }
    return { commit: sha, files };
  } catch (error) {
    if (isQuerentError(error) || signal?.aborted === true) throw error;
    throw lie(`The hub's answer about ${what} cannot be read (${error instanceof Error ? error.message : String(error)})`);
  }
}

/** `fetch` for the library: ours, bounded in size and number, ours alone to authorise; bad statuses are thrown as coded errors. */
function guardedFetch(settings: HubSettings, what: string, signal: AbortSignal | undefined): typeof fetch {
  let requests = 0;
  return async (input) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (url.origin !== settings.endpoint.origin) throw lie(`The hub's list of ${what} goes on at ${url.origin}, another server`);
    if (++requests > REQUESTS_LIMIT) throw lie(`The hub's list of ${what} does not end`);
    return retrying(settings, signal, async () => {
      const answer = await request(url, settings, { headers: { accept: 'application/json' }, ...(signal === undefined ? {} : { signal }) });
      if (answer.status !== 200) {
        await answer.discard();
        throw statusError(answer.status, answer.headers, url, what, settings.token !== undefined);
      }
      const body = await readBounded(answer, JSON_LIMIT_BYTES, `The hub's answer about ${what}`);
      return new Response(Buffer.from(body), { status: 200, headers: answer.headers });
    });
  };
}

/** A row of the listing, or undefined for a folder. */
function remoteFile(entry: unknown, what: string): RemoteFile | undefined {
  const row = isRecord(entry) ? entry : {};
  const { type, path, size, oid, lfs } = row;
  if (type === 'directory') return undefined;
  if (typeof path !== 'string' || !isSafePath(path)) throw lie(`The hub lists a file ${JSON.stringify(path)?.slice(0, 200)} of ${what}, which would leave its folder`);
  const large = isRecord(lfs) ? lfs : undefined;
  const bytes = large === undefined ? size : large['size'];
  const digest = large === undefined ? oid : large['oid'];
  if (!Number.isSafeInteger(bytes) || Number(bytes) < 0) throw lie(`The hub says that ${path} of ${what} has ${JSON.stringify(bytes)} bytes`);
  const length = large === undefined ? 40 : 64;
  if (typeof digest !== 'string' || digest.length !== length || !/^[0-9a-f]+$/.test(digest)) throw lie(`The hub gives ${JSON.stringify(digest)?.slice(0, 80)} as the checksum of ${path} of ${what}`);
  return { path, bytes: Number(bytes), checksum: { algorithm: large === undefined ? 'git-sha1' : 'sha256', digest } };
}

/** Relative, within its folder, and a name on every system. */
function isSafePath(path: string): boolean {
  if (path.length > 1000 || /[\\:]|\p{Cc}/u.test(path)) return false;
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
