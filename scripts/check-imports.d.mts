/** Types of `check-imports.mjs`, for tests. */
export const ARROWS: Readonly<Record<string, readonly string[]>>;
export function checkImports(root?: string): readonly string[];
