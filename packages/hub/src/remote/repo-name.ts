/** Names of repositories: `org/name`, and `org/name@revision` for a branch, a tag or a commit. */
import { QuerentError } from '@querent/core';

export interface RepoName {
  /** `org/name` */
  readonly repo: string;
  /** Default `main`. */
  readonly revision: string;
}

/** HuggingFace's rule for either half of a name. */
const HALF = /^(?!.*(--|\.\.))[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?$/;

/** Branches and tags, `refs/pr/1` among them: what git allows and no path can be led astray with. */
const REVISION = /^(?!.*(\.\.|\/\/|@\{|\.lock$))[A-Za-z0-9_][\w./+-]{0,199}$/;

/** The name's parts, or undefined when it can only be a path. */
export function parseRepoName(text: string): RepoName | undefined {
  const [name = '', revision = 'main', ...more] = text.split('@');
  const halves = name.split('/');
  if (more.length > 0 || halves.length !== 2 || !halves.every((half) => HALF.test(half)) || /\.(git|gguf|json|safetensors)$/i.test(name)) return undefined;
  return { repo: name, revision: checkedRevision(revision) };
}

/** @throws QuerentError QRT_USAGE */
function checkedRevision(revision: string): string {
  if (REVISION.test(revision) && !revision.endsWith('/')) return revision;
  throw new QuerentError('QRT_USAGE', `${JSON.stringify(revision)} is no revision.`, { fix: 'Name a branch, a tag or a commit: org/name@main.' });
}

/** Is it the full name of a commit? */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}
