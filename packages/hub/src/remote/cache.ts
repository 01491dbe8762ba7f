/**
 * HuggingFace's cache on disk, the one that Python uses too (huggingface_hub, "Understand caching"):
 *
 *     models--org--name/refs/main              the commit that the branch was at
 *     models--org--name/blobs/<checksum>       bytes, once
 *     models--org--name/snapshots/<commit>/…   names: links to the blobs
 *     models--org--name/.no_exist/<commit>/…   names that the commit is known not to have
 */
import { copyFile, mkdir, readFile, readlink, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileError, errnoOf } from '../file-error.ts';
import { temporaryBeside, writeFileAtomic } from '../file-write.ts';
import { readJsonObject, isJsonObject } from '../json-file.ts';
import { isCommit, type RepoName } from './repo-name.ts';

/** The folder of a repository. */
export function repoFolder(cacheDir: string, repo: string): string {
  return join(cacheDir, `models--${repo.replace('/', '--')}`);
}

export function snapshotFolder(cacheDir: string, repo: string, commit: string): string {
  return join(repoFolder(cacheDir, repo), 'snapshots', commit);
}

/** The commit that the cache knows the revision as. */
export async function cachedCommit(cacheDir: string, { repo, revision }: RepoName): Promise<string | undefined> {
  if (isCommit(revision)) return revision;
  const text = await readFile(join(repoFolder(cacheDir, repo), 'refs', ...revision.split('/')), 'utf8').catch(() => '');
  return isCommit(text.trim()) ? text.trim() : undefined;
}

export async function writeRef(cacheDir: string, { repo, revision }: RepoName, commit: string): Promise<void> {
  if (!isCommit(revision)) await writeFileAtomic(join(repoFolder(cacheDir, repo), 'refs', ...revision.split('/')), commit);
}

/** Names `blob` as `path` within the snapshot: a relative link, or a copy on systems that make no links. */
export async function linkBlob(snapshot: string, path: string, blob: string): Promise<void> {
  const link = join(snapshot, ...path.split('/'));
  const target = relative(dirname(link), blob);
  if ((await readlink(link).catch(() => '')) === target) return;
  const fresh = temporaryBeside(link);
  try {
    await mkdir(dirname(link), { recursive: true });
    await symlink(target, fresh).catch(async (error: unknown) => {
      if (errnoOf(error) !== 'EPERM' && errnoOf(error) !== 'ENOSYS') throw error;
      await copyFile(blob, fresh);
    });
    await rename(fresh, link);
  } catch (cause) {
    await rm(fresh, { force: true }).catch(() => undefined); // the first error is the one worth telling
    throw fileError('write', link, cause);
  }
}

/** Notes that the commit has no such file, so that it need not be asked for again. */
export async function noteAbsent(cacheDir: string, repo: string, commit: string, path: string): Promise<void> {
  const file = join(repoFolder(cacheDir, repo), '.no_exist', commit, ...path.split('/'));
  if (!(await isThere(file))) await writeFileAtomic(file, '');
}

/** Is it there, or known not to exist? */
export async function isKnown(cacheDir: string, repo: string, commit: string, path: string): Promise<boolean> {
  const parts = path.split('/');
  return (await isThere(join(snapshotFolder(cacheDir, repo, commit), ...parts))) || isThere(join(repoFolder(cacheDir, repo), '.no_exist', commit, ...parts));
}

/** Are the config and all weight files of a snapshot there? A download that was interrupted is not whole. */
export async function isWhole(snapshot: string): Promise<boolean> {
  if (!(await isThere(join(snapshot, 'config.json')))) return false;
  if (await isThere(join(snapshot, 'model.safetensors'))) return true;
  const index = join(snapshot, 'model.safetensors.index.json');
  if (!(await isThere(index))) return false;
  const map = (await readJsonObject(index))['weight_map'];
  const shards = new Set(isJsonObject(map) ? Object.values(map) : []);
  for (const shard of shards) if (typeof shard !== 'string' || !(await isThere(join(snapshot, shard)))) return false;
  return shards.size > 0;
}

/** Follows links: a link to a blob that is gone counts for nothing. */
async function isThere(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}
