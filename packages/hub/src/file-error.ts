/** What the operating system says about a file, turned into a sentence and a way out. */
import { QuerentError } from '@querent/core';

const CAUSES: Readonly<Record<string, readonly [what: string, fix: string]>> = {
  ENOENT: ['it does not exist', 'Check the path.'],
  EACCES: ['permission is denied', 'Give this user the right to it, or choose another folder.'],
  EPERM: ['the operation is not permitted', 'Give this user the right to it, or choose another folder.'],
  EROFS: ['the file system is read-only', 'Choose a folder on a writable file system.'],
  ENOSPC: ['the disk is full', 'Free some space or choose a folder on another disk, then run it again.'],
  EDQUOT: ['the disk quota is used up', 'Free some space or choose a folder on another disk, then run it again.'],
  EFBIG: ['the file would be larger than the system allows', 'Raise the file size limit (`ulimit -f`) or save in a smaller dtype.'],
  EISDIR: ['it is a folder', 'Name a file.'],
  ENOTDIR: ['a part of the path is a file, not a folder', 'Check the path.'],
  EMFILE: ['too many files are open', 'Raise the limit of open files (`ulimit -n`).'],
  ENAMETOOLONG: ['the name is too long', 'Choose a shorter name.'],
};

/**
 * A QRT_FILE error: `cannot write runs/a.safetensors: the disk is full`.
 * @param action the verb, for instance `read` or `write`
 */
export function fileError(action: string, file: string, cause: unknown): QuerentError {
  const errno = errnoOf(cause);
  const [what, fix] = (errno === undefined ? undefined : CAUSES[errno]) ?? [
    cause instanceof Error ? cause.message : String(cause),
    'Check the path and the disk.',
  ];
  return new QuerentError('QRT_FILE', `Cannot ${action} ${file}: ${what}.`, { fix, details: { file, errno }, cause });
}

/** The system's code of an error (`ENOENT`), when it has one. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
