/** `npm create querent-plugin`: what its words do. That the folders build and pass their tests: `test/package/plugin-template.test.ts`. */
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createPlugin } from './create-plugin.ts';
import { TEMPLATE_KINDS } from './kinds.ts';
import { main } from './main.ts';

let folder = '';
let said = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'create-querent-plugin-'));
  said = '';
  const write = (text: string | Uint8Array): boolean => ((said += String(text)), true);
  vi.spyOn(process.stdout, 'write').mockImplementation(write);
  vi.spyOn(process.stderr, 'write').mockImplementation(write);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true, force: true });
});

it('writes a task, and says where and what comes next', async () => {
  const out = join(folder, 'mine');
  expect(await main(['@me/querent-plugin-alt-text', '--out', out])).toBe(0);
  expect(said).toContain(`${out}\nNext: cd ${out} && npm install && npm test.`);
  expect((await readdir(out, { recursive: true })).toSorted()).toEqual(['.gitignore', 'README.md', 'package.json', 'src', 'src/index.ts', 'test', 'test/index.test.js', 'tsconfig.json'].toSorted());
  expect(JSON.parse(await readFile(join(out, 'package.json'), 'utf8'))).toMatchObject({ name: '@me/querent-plugin-alt-text', keywords: ['querent-plugin', 'querent'] });
});

it('has a template for each kind, with the name in the place of NAME', async () => {
  for (const kind of TEMPLATE_KINDS) {
    const made = await createPlugin('loud', { kind, out: join(folder, kind) });
    const source = await readFile(join(made.folder, 'src', 'index.ts'), 'utf8');
    expect(source).toContain("name: 'loud'");
    expect(source).not.toContain('NAME');
  }
});

it('says how it is called, and refuses with 2 what it does not take, writing nothing', async () => {
  for (const [words, code, message] of [
    [['--help'], 0, 'npm create querent-plugin NAME'],
    [[], 2, 'npm create querent-plugin NAME'],
    [['a', 'b'], 2, 'One name was expected'],
    [['a', '--kind', 'tusk'], 2, 'Did you mean task?'],
    [['Shout!'], 2, "cannot be a plugin's name"],
    [['a', '--kin', 'task'], 2, '--kin'],
  ] as const) {
    said = '';
    expect([words, await main(words)]).toEqual([words, code]);
    expect(said).toContain(message);
  }
  expect(await main(['a', '--out', folder])).toBe(0); // an empty folder
  expect(await main(['a', '--out', folder])).toBe(1); // not empty any more
  expect(said).toContain('is not empty: nothing was written');
});
