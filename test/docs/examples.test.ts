/** The code on the pages: checked by the compiler against the built packages, and run. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, querent, temporary } from '../e2e/command-line.ts';
import { checkExamples, examplesOf, furnish, parseCommands, parseExamples, readmeExamples } from './examples.ts';

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

it('the examples of the READMEs and of docs/usage.md are typed as strict TypeScript, and run', async () => {
  await mkdir(join(ROOT, 'cache'), { recursive: true });
  const project = await mkdtemp(join(ROOT, 'cache', 'examples-')); // inside the repository, so that packages are found by name
  try {
    const examples = [...(await readmeExamples()), ...(await examplesOf(['docs/usage.md']))];
    expect(examples.length).toBeGreaterThan(20);
    expect(await checkExamples(project, examples)).toEqual([]);
  } finally {
    await rm(project, { recursive: true, force: true });
  }
}, 600_000);

it('the commands of docs/usage.md do what they say', async () => {
  await using folder = await temporary();
  await furnish(folder.path);
  const { commands, document = '' } = parseCommands(await readFile(join(ROOT, 'docs', 'usage.md'), 'utf8'));
  await writeFile(join(folder.path, 'pipeline.json'), document);
  expect(commands.map(([name]) => name)).toEqual(['run', 'train', 'evaluate', 'caption', 'vqa', 'index', 'search', 'curate', 'attend', 'inspect', 'verify']);
  for (const words of commands) {
    const { code, stderr } = await querent(words, { cwd: folder.path });
    expect({ words, code, stderr: code === 0 ? '' : stderr }).toEqual({ words, code: 0, stderr: '' });
  }
  for (const file of ['captions.jsonl', 'clean.jsonl', 'heat.png', 'runs/shell/model/config.json']) expect((await readFile(join(folder.path, file))).length, file).toBeGreaterThan(0);
}, 900_000);
