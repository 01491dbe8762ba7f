/** The code on the pages: checked by the compiler against the built packages, and run. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../e2e/command-line.ts';
import { checkExamples, parseExamples, readmeExamples } from './examples.ts';

describe('an example', () => {
  it('is a block with what it is given in front, and says why it is not run', () => {
    const text = 'words\n\n<!-- given: photos -->\n```ts\nuse(photos);\n```\n\n<!-- types only: needs a server -->\n<!-- given: image -->\n```ts\nawait go(image);\n```\n```sh\nls\n```\n';
    const [first, second, ...others] = parseExamples('docs/a.md', text);
    expect(others).toEqual([]);
    expect(first).toMatchObject({ name: 'docs/a.md:4', file: 'docs-a-4', typesOnly: undefined });
    expect(first?.code).toMatch(/^const photos[^\n]*\nuse\(photos\);/);
    expect(second).toMatchObject({ name: 'docs/a.md:10', typesOnly: 'needs a server' });
    expect(second?.code).toMatch(/^const image[^\n]*\nawait go\(image\);/);
    expect(() => parseExamples('a.md', '<!-- given: nonsense -->\n```ts\n1;\n```')).toThrow('nonsense');
  });
});

it('the examples of the READMEs are typed as strict TypeScript, and run', async () => {
  await mkdir(join(ROOT, 'cache'), { recursive: true });
  const project = await mkdtemp(join(ROOT, 'cache', 'examples-')); // inside the repository, so that packages are found by name
  try {
    const examples = await readmeExamples();
    expect(examples.length).toBeGreaterThan(20);
    expect(await checkExamples(project, examples)).toEqual([]);
  } finally {
    await rm(project, { recursive: true, force: true });
  }
}, 600_000);
