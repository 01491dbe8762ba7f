/** Types of `build.mjs`, for tests. */
export function buildSite(out: string, options?: { readonly api?: boolean }): Promise<{ readonly pages: number; readonly dead: readonly string[] }>;
