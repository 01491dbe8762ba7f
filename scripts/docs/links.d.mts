/** Types of `links.mjs`, for tests. */
export function deadLinks(site: string): Promise<readonly string[]>;
