/**
 * From a model's name to a folder: a local folder, HuggingFace's cache, the hub; in this order, and only what is needed is fetched:
 * documents, tokenizer, safetensors. What runs code when it is read (pickles) is refused before a byte of it is.
 */
import { stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { QuerentError, linkSignals } from '@querent/core';
import { isJsonObject, readJsonObject } from '../json-file.ts';
import { cachedCommit, isKnown, isWhole, linkBlob, noteAbsent, repoFolder, snapshotFolder, writeRef } from './cache.ts';
import { download } from './download.ts';
import { listRepository, type Listing, type RemoteFile } from './listing.ts';
import { parseRepoName, type RepoName } from './repo-name.ts';
import { lie } from './request.ts';
import { hubSettings, type DownloadEvent, type HubOptions, type HubSettings } from './settings.ts';

/** Documents that are fetched where the repository has them. `config.json` is named last in the snapshot: with it, a model is whole. */
const DOCUMENTS = [
  'generation_config.json',
  'preprocessor_config.json',
  'processor_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
  'qformer_tokenizer/tokenizer.json',
  'qformer_tokenizer/tokenizer_config.json',
  'qformer_tokenizer/special_tokens_map.json',
] as const;

const WEIGHTS = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/** Nothing that is a document is larger: what is, is refused before it fills the disk. */
const DOCUMENT_LIMIT_BYTES = 256 * 1024 * 1024;

/** Weight files at a time. */
const AT_ONCE = 3;

export interface ResolvedModel {
  readonly folder: string;
  /** `hub` and `cache`: the folder is a snapshot whose documents a stranger wrote. */
  readonly source: 'local' | 'cache' | 'hub';
}

/**
 * Finds the folder of a model, fetching it when it is nowhere else.
 *
 * @param name a folder, `org/name`, or `org/name@revision`
 * @returns for a path that does not exist, that path: whoever opens it says so.
 * @throws QuerentError QRT_HUB_OFFLINE, QRT_HUB_NOT_FOUND, QRT_HUB_ACCESS, QRT_HUB_UNREACHABLE, QRT_HUB_RESPONSE,
 *   QRT_CHECKPOINT_FORMAT for a repository without safetensors, QRT_FILE, QRT_USAGE; or the signal's reason.
 *
 * @example
 * const { folder } = await resolveModel('Salesforce/blip2-opt-2.7b', { onDownload: ({ bytes, total }) => console.log(bytes / total) });
 */
export async function resolveModel(name: string, options: HubOptions = {}): Promise<ResolvedModel> {
  const local: ResolvedModel = { folder: name, source: 'local' };
  if (await isThere(name)) return local;
  const wanted = parseRepoName(name);
  // `models/mispelt` beside a folder `models` is a path, not a question to a server.
  if (wanted === undefined || (await isFolder(name.split('/')[0] ?? ''))) return local;
  const settings = await hubSettings(options);
  return (await fromCache(wanted, settings)) ?? fromHub(wanted, settings, options);
}

async function fromCache(wanted: RepoName, settings: HubSettings): Promise<ResolvedModel | undefined> {
  const { cacheDir, isOffline } = settings;
  const commit = await cachedCommit(cacheDir, wanted);
  const folder = commit === undefined ? undefined : snapshotFolder(cacheDir, wanted.repo, commit);
  if (commit !== undefined && folder !== undefined && (await isWhole(folder)) && (isOffline || (await isKnown(cacheDir, wanted.repo, commit, 'tokenizer.json')))) {
    return { folder, source: 'cache' };
  }
  if (!isOffline) return undefined;
  const { repo, revision } = wanted;
  throw new QuerentError('QRT_HUB_OFFLINE', `${repo}${revision === 'main' ? '' : `@${revision}`} is ${folder === undefined || !(await isFolder(folder)) ? 'not' : 'only in part'} in ${cacheDir}, and HF_HUB_OFFLINE is set. There is no folder of that name either.`, {
    fix: 'Run it once with HF_HUB_OFFLINE=0, or name a folder that is here.',
    details: { repo, revision, cacheDir },
  });
}

async function fromHub(wanted: RepoName, settings: HubSettings, options: HubOptions): Promise<ResolvedModel> {
  const { repo } = wanted;
  const { cacheDir } = settings;
  const listing = await listRepository(wanted, settings, options.signal);
  const weightsName = weightsOf(listing, repo);
  const config = needed(listing, 'config.json', repo);
  const snapshot = snapshotFolder(cacheDir, repo, listing.commit);
  const blobs = join(repoFolder(cacheDir, repo), 'blobs');
  const { onDownload } = options;
  const progress = new Map<string, number>();
  const todo: RemoteFile[] = [];

  const fetchOne = async (file: RemoteFile, signal: AbortSignal | undefined): Promise<void> => {
    const blob = join(blobs, file.checksum.digest);
    await download({
      url: fileUrl(settings, repo, listing.commit, file.path),
      target: blob,
      bytes: file.bytes,
      checksum: file.checksum,
      what: `${file.path} of ${repo}`,
      settings,
      ...(signal === undefined ? {} : { signal }),
      ...(onDownload === undefined ? {} : { onBytes: (bytes) => onDownload(eventOf(repo, file, bytes, progress, todo)) }),
    });
    if (file !== config) await linkBlob(snapshot, file.path, blob);
  };

  const documents = [...DOCUMENTS, ...(weightsName === INDEX ? [INDEX] : [])].flatMap((name) => listing.files.get(name) ?? []);
  for (const { path, bytes } of [...documents, config]) if (bytes > DOCUMENT_LIMIT_BYTES) throw lie(`${path} of ${repo} has ${bytes} bytes by the hub's list; at most ${DOCUMENT_LIMIT_BYTES} are fetched`);
  todo.push(...documents, config);
  for (const file of [...documents, config]) await fetchOne(file, options.signal);
  const weights = weightsName === INDEX ? await shardsOf(join(snapshot, INDEX), listing, repo) : [needed(listing, WEIGHTS, repo)];
  todo.push(...weights);
  await assertSpace(cacheDir, weights, blobs, repo);
  await inTurns(weights, options.signal, fetchOne);
  for (const name of DOCUMENTS) if (!listing.files.has(name)) await noteAbsent(cacheDir, repo, listing.commit, name);
  await writeRef(cacheDir, wanted, listing.commit);
  await linkBlob(snapshot, config.path, join(blobs, config.checksum.digest));
  return { folder: snapshot, source: 'hub' };
}

/** `AT_ONCE` files at a time; the first failure stops the others. */
async function inTurns(files: readonly RemoteFile[], signal: AbortSignal | undefined, fetchOne: (file: RemoteFile, signal: AbortSignal) => Promise<void>): Promise<void> {
  const { controller, unlink } = linkSignals(signal === undefined ? [] : [signal]);
  const queue = files.values();
  const worker = async (): Promise<void> => {
    for (const file of queue) await fetchOne(file, controller.signal);
  };
  const workers = Array.from({ length: AT_ONCE }, () => worker().catch((error: unknown) => {
    controller.abort(error); // only the first reason counts
    throw error;
  }));
  try {
    await Promise.all(workers);
  } finally {
    await Promise.allSettled(workers);
    unlink();
  }
}

/** The one file to begin with. */
function weightsOf({ files }: Listing, repo: string): typeof WEIGHTS | typeof INDEX {
  if (files.has(WEIGHTS)) return WEIGHTS;
  if (files.has(INDEX)) return INDEX;
  const names = [...files.keys()];
  const pickle = names.find((name) => /\.(bin|pt|pth|ckpt|pkl|pickle)$/i.test(name));
  if (pickle !== undefined) {
    throw new QuerentError('QRT_CHECKPOINT_FORMAT', `${repo} has its weights only as Python pickles (${pickle}): reading one can run any code that is hidden in it, so none is fetched.`, {
      fix: `Look for a revision that has model.safetensors (on the hub: the pull requests of the model; name it ${repo}@refs/pr/N), or convert it once where you trust it: python -c "from transformers import AutoModel; AutoModel.from_pretrained('${repo}').save_pretrained('folder', safe_serialization=True)".`,
      details: { repo, file: pickle },
    });
  }
  const other = names.find((name) => /\.(gguf|safetensors|onnx|h5|msgpack)$/i.test(name));
  throw new QuerentError('QRT_CHECKPOINT_FORMAT', `${repo} has no model.safetensors${other === undefined ? '' : `; it has ${other}`}.`, {
    fix: 'Name a repository in the layout of transformers, or download the file and name its folder.',
    details: { repo, files: names.slice(0, 100) },
  });
}

async function shardsOf(index: string, listing: Listing, repo: string): Promise<RemoteFile[]> {
  const map = (await readJsonObject(index))['weight_map'];
  const names = [...new Set(isJsonObject(map) ? Object.values(map) : [])];
  const isShard = (name: unknown): name is string => typeof name === 'string' && /^[^/\\]+\.safetensors$/.test(name);
  if (names.length === 0 || !names.every(isShard)) {
    throw new QuerentError('QRT_CHECKPOINT_FORMAT', `${INDEX} of ${repo} does not say which .safetensors file beside it holds which tensor.`, { fix: 'Tell the model’s author; another revision may be sound.', details: { repo } });
  }
  return names.map((name) => needed(listing, name, repo));
}

function needed({ files }: Listing, name: string, repo: string): RemoteFile {
  const file = files.get(name);
  if (file !== undefined) return file;
  throw new QuerentError('QRT_HUB_NOT_FOUND', `${repo} has no ${name}.`, { fix: 'Is it a model in the layout of transformers? Check the name and the revision.', details: { repo, file: name } });
}

/** Refuses what the disk cannot hold before the first byte of it. */
async function assertSpace(cacheDir: string, files: readonly RemoteFile[], blobs: string, repo: string): Promise<void> {
  let missing = 0;
  for (const { bytes, checksum } of files) {
    const target = join(blobs, checksum.digest);
    if (!(await isThere(target))) missing += Math.max(0, bytes - ((await sizeOf(`${target}.incomplete`)) ?? 0));
  }
  const { bavail, bsize } = await statfs(cacheDir);
  const free = bavail * bsize;
  if (missing <= free) return;
  throw new QuerentError('QRT_FILE', `${repo} needs ${missing} more bytes and ${cacheDir} has ${free} left.`, { fix: 'Free some space, or set HF_HOME to a folder on another disk.', details: { repo, missing, free } });
}

function fileUrl({ endpoint }: HubSettings, repo: string, commit: string, path: string): URL {
  const base = endpoint.href.replace(/\/+$/, '');
  return new URL(`${base}/${repo}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`);
}

function eventOf(repo: string, file: RemoteFile, fileBytes: number, progress: Map<string, number>, todo: readonly RemoteFile[]): DownloadEvent {
  progress.set(file.path, fileBytes);
  let [bytes, total] = [0, 0];
  for (const each of todo) {
    bytes += progress.get(each.path) ?? 0;
    total += each.bytes;
  }
  return { type: 'download', repo, file: file.path, fileBytes, fileTotal: file.bytes, bytes, total };
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then((status) => status.isDirectory(), () => false);
}

async function isThere(path: string): Promise<boolean> {
  return (await sizeOf(path)) !== undefined;
}

async function sizeOf(file: string): Promise<number | undefined> {
  return stat(file).then((status) => status.size, () => undefined);
}
