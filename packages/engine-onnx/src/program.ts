/** Where the module of a program is, for a worker thread. How one runs is `runProgram` of core. */
import { existsSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { QuerentError } from '@querent/core';

/**
 * A worker thread is plain Node, which cannot load TypeScript: a program named from a package's sources (a test run) is taken from
 * the same package's `dist`.
 *
 * @throws QuerentError QRT_USAGE when it has not been built.
 */
export function builtProgramUrl(moduleUrl: string): string {
  if (!moduleUrl.startsWith('file:') || !moduleUrl.endsWith('.ts')) return moduleUrl;
  const source = fileURLToPath(moduleUrl);
  const built = source.replace(/([\\/])src([\\/])(?!.*[\\/]src[\\/])/, '$1dist$2').replace(/\.ts$/, '.js');
  if (built !== source && existsSync(built)) return pathToFileURL(built).href;
  throw new QuerentError('QRT_USAGE', `The program ${source} is TypeScript, which a worker thread cannot load, and ${built} does not exist.`, {
    fix: 'Build its package (`tsc -b`), or use the engine in place.',
  });
}
