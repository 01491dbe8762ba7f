/** Optional packages: where they are looked for, and what is said when one of them does not work. */
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { QuerentError } from '@querent/core';

/** Where a peer lies: in the folder that is named, beside this package, or in the working directory. */
export function findPeer(packageName: string): string | undefined {
  const named = process.env['QUERENT_TFJS_NODE'];
  const from = [...(named === undefined ? [] : [resolve(named, 'package.json')]), import.meta.url, resolve('package.json')];
  for (const place of from) {
    try {
      return createRequire(place).resolve(packageName);
    } catch {
      // not there: the next place
    }
  }
  return undefined;
}

/** The error for a backend that does not work here. */
export function unavailable(backend: string, reason: string, fix: string, cause?: unknown): QuerentError {
  return new QuerentError('QRT_ENGINE_PROVIDER', `The backend tfjs:${backend} is not available here: ${reason}.`, { fix: `${fix} \`tfjs:cpu\` always works.`, details: { backend }, cause });
}
