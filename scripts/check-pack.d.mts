/** Types of `check-pack.mjs`, for tests. */
export interface Tarball {
  readonly path: string;
  readonly manifest: Readonly<Record<string, unknown>>;
  readonly files: readonly string[];
}
export function packAll(folder: string): Promise<ReadonlyMap<string, Tarball>>;
export function checkTarballs(tarballs: ReadonlyMap<string, Tarball>): readonly string[];
