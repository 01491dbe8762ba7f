/** Types of `check-pack.mjs`, for tests. */
export interface Tarball {
  readonly path: string;
  readonly manifest: Readonly<Record<string, unknown>>;
  readonly files: readonly string[];
  readonly contents: ReadonlyMap<string, Uint8Array>;
}
export function packAll(folder: string): Promise<ReadonlyMap<string, Tarball>>;
export function checkTarballs(tarballs: ReadonlyMap<string, Tarball>): readonly string[];
export function lintTarballs(tarballs: ReadonlyMap<string, Tarball>): Promise<readonly string[]>;
