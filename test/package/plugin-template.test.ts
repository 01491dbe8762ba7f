/** `querent plugin new` in an empty folder: what it writes builds, passes its own tests with a real engine, and packs. */
import { execFile } from 'node:child_process';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { packAll } from '../../scripts/check-pack.mjs';
import { editJson, everything, querent, temporary } from '../e2e/command-line.ts';

const run = promisify(execFile);

/** Why npm cannot install here; undefined when it can. */
const missing = await run('npm', ['view', 'rxjs', 'version'], { timeout: 30_000 }).then(() => undefined, () => 'THE NPM REGISTRY CANNOT BE REACHED: the template was not tried');
const OTHERS = ['encoder', 'language-model', 'objective', 'dataset', 'metric'] as const;

async function npmTest(folder: string): Promise<void> {
  const failed = await run('npm', ['test'], { cwd: folder, maxBuffer: 2 ** 26 }).then(() => undefined, (error: { readonly stdout: string }) => error.stdout);
  expect(failed, folder).toBeUndefined();
}

it.skipIf(missing !== undefined)(`a plugin of each kind builds, passes its tests and packs${missing === undefined ? '' : ` (skipped: ${missing})`}`, async () => {
  await using folder = await temporary();
  const made = await querent(['plugin', 'new', 'shout', '--kind', 'task'], { cwd: folder.path });
  expect([made.code, made.stderr]).toEqual([0, expect.stringContaining('cd querent-plugin-shout && npm install && npm test')]);
  const plugin = join(folder.path, 'querent-plugin-shout');
  const tarballs = await packAll(join(folder.path, 'tarballs'));
  // The packages that would be published now, in the place of the registry's.
  await editJson(join(plugin, 'package.json'), (manifest) => {
    const tools = manifest['devDependencies'] as Record<string, string>; // the template's
    for (const name of Object.keys(tools)) if (/^(@querent\/|querent$)/.test(name)) expect(tarballs.get(name)?.manifest.version, name).toBe(tools[name]);
    for (const [name, { path }] of tarballs) tools[name] = `file:${path}`;
  });
  await run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--prefer-offline', '--loglevel=error'], { cwd: plugin, maxBuffer: 2 ** 26 });
  await npmTest(plugin);
  for (const kind of OTHERS) {
    const made = await querent(['plugin', 'new', `my-${kind}`, '--kind', kind], { cwd: plugin }); // it finds the packages above it
    expect([kind, made.code]).toEqual([kind, 0]);
    await npmTest(join(plugin, `querent-plugin-my-${kind}`));
  }
  await run('npx', ['create-querent-plugin', 'loud', '--kind', 'metric'], { cwd: plugin }); // what `npm create querent-plugin` runs, as it is packed
  await npmTest(join(plugin, 'querent-plugin-loud'));
  await run('npm', ['pack', '--loglevel=error'], { cwd: plugin });
  expect((await readdir(plugin)).some((name) => name === 'querent-plugin-shout-0.1.0.tgz')).toBe(true);
  const { stdout } = await run('npx', ['querent', 'plugin', 'check', 'querent-plugin-shout'], { cwd: plugin }); // by its own name
  expect(stdout).toContain('task shout   keeps its contract');
}, 900_000);

it('refuses names, kinds and places that cannot be, and writes nothing', async () => {
  await using folder = await temporary();
  for (const [words, message] of [
    [['Shout!'], /"Shout!" cannot be a plugin's name/],
    [['../shout'], /cannot be a plugin's name/],
    [['shout', '--kind', 'tusk'], /Did you mean task\?/],
    [['shout', 'too', 'many'], /was given "new shout too many"/],
  ] as const) {
    const { code, stderr } = await querent(['plugin', 'new', ...words], { cwd: folder.path });
    expect([words, code, stderr]).toEqual([words, 2, expect.stringMatching(message)]);
  }
  expect(await everything(folder.path)).toEqual([]);
  await writeFile(join(folder.path, 'mine.txt'), 'mine');
  const { code, stderr } = await querent(['plugin', 'new', 'shout', '--out', '.'], { cwd: folder.path });
  expect([code, stderr]).toEqual([1, expect.stringContaining('is not empty: nothing was written')]);
  expect(await everything(folder.path)).toEqual(['mine.txt']);
}, 300_000);

it('names the compilers that this repository is built with', async () => {
  const source = await readFile(new URL('../../packages/create-querent-plugin/src/template.ts', import.meta.url), 'utf8');
  const catalog = await readFile(new URL('../../pnpm-workspace.yaml', import.meta.url), 'utf8');
  expect(catalog).toContain(`typescript: ${/TYPESCRIPT = '(.*)'/.exec(source)?.[1]}\n`);
  expect(catalog).toContain(`'@types/node': ${/NODE_TYPES = '(.*)'/.exec(source)?.[1]}\n`);
});
