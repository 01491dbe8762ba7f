/** Every relative link of the pages leads somewhere. */
import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

async function pages(): Promise<string[]> {
  const packages = (await readdir(join(ROOT, 'packages'))).map((name) => join('packages', name, 'README.md'));
  const docs = (await readdir(join(ROOT, 'docs'), { recursive: true })).filter((name) => name.endsWith('.md')).map((name) => join('docs', name));
  return ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md', join('test', 'photos', 'README.md'), ...docs, ...packages].filter((page) => existsSync(join(ROOT, page)));
}

it('links of README, docs and packages lead to files that are there', async () => {
  const broken: string[] = [];
  for (const page of await pages()) {
    const text = await readFile(join(ROOT, page), 'utf8');
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)|src="([^"]+)"/g)) {
      const path = target.split('#')[0] ?? '';
      if (path === '' || /^[a-z]+:/.test(path)) continue;
      if (!existsSync(join(ROOT, dirname(page), path))) broken.push(`${page}: ${target}`);
    }
  }
  expect(broken).toEqual([]);
});

it('docs/index.md lists every page of docs', async () => {
  const index = await readFile(join(ROOT, 'docs', 'index.md'), 'utf8');
  const missing = (await readdir(join(ROOT, 'docs'), { recursive: true })).filter((name) => name.endsWith('.md') && name !== 'index.md').filter((name) => !index.includes(`](${name.replaceAll('\\', '/')}`));
  expect(missing).toEqual([]);
});
