/** Plugins by name, from packages and files as people have them: written to a temporary folder, imported for real. */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRegistry } from '@querent/core';
import { vitPlugin } from '@querent/encoders';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeTinyModel } from '../test/tiny-models.ts';
import { createQuerent } from './create-querent.ts';
import { importPlugins, withDocumentPlugins } from './plugins.ts';
import { runPipeline } from './run-document.ts';

let root = '';
const metric = (name: string, rest = ''): string => `{ kind: 'metric', name: '${name}', contract: 1, evaluate: () => ({ figures: {} }) ${rest} }`;

async function install(name: string, code: string, manifest: object = {}): Promise<void> {
  const folder = join(root, 'node_modules', name);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name, version: '1.0.0', type: 'module', keywords: ['querent-plugin'], exports: { '.': { import: './plugin.js' } }, ...manifest }));
  await writeFile(join(folder, 'plugin.js'), code);
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'querent-plugins-'));
  await install('querent-plugin-exact', `export default ${metric('exact')};`);
  await install('querent-plugin-two', `export default [${metric('one')}, ${metric('two')}];`);
  await install('@me/querent-plugin-exact', `export default ${metric('exact')};`);
  await install('querent-plugin-old', `export default { ...${metric('old')}, contract: 2 };`, { peerDependencies: { '@querent/core': '^2.0.0' } });
  await install('querent-plugin-empty', `export default { kind: 'task', name: 'empty', contract: 1 };`);
  await install('querent-plugin-throws', `throw new TypeError('no such thing');`);
  await install('querent-plugin-lacking', `import 'a-package-that-is-not-there'; export default 1;`);
  await install('querent-plugin-named', `export const exact = ${metric('exact')};`);
  await install('querent-plugin-unbuilt', '', { exports: './dist/index.js' });
  await install('querent-plugin-main', `export default ${metric('main')};`, { exports: undefined, main: 'plugin.js' });
  await install('querent-plugin-bleu', `export default ${metric('exact')};`);
  await install('left-pad', `globalThis.padded = true; export default ${metric('pad')};`, { keywords: [] });
  await writeFile(join(root, 'own.mjs'), `export default ${metric('own')};`);
});
afterAll(() => rm(root, { recursive: true, force: true }));

const named = async (...names: readonly unknown[]): Promise<string[]> => (await importPlugins(names, { from: root })).map((one) => `${one.kind} ${one.name}`);
const coded = (code: string, message: RegExp): unknown => expect.objectContaining({ code, message: expect.stringMatching(message) });

describe('importPlugins', () => {
  test('finds packages, lists of plugins, files, folders and values', async () => {
    expect(await named('querent-plugin-exact', 'querent-plugin-two', 'querent-plugin-main')).toEqual(['metric exact', 'metric one', 'metric two', 'metric main']);
    expect(await named('./own.mjs')).toEqual(['metric own']);
    expect(await named('own.mjs')).toEqual(['metric own']);
    expect(await named(join(root, 'node_modules', 'querent-plugin-exact'))).toEqual(['metric exact']);
    expect(await named({ kind: 'metric', name: 'value', contract: 1, evaluate: () => ({ figures: {} }) })).toEqual(['metric value']);
  });

  test('takes one plugin that is named twice for one', async () => {
    expect(await named('querent-plugin-exact', './node_modules/querent-plugin-exact/plugin.js')).toEqual(['metric exact']);
  });

  test.each([
    ['a package that is not there', 'querent-plugin-exat', 'QRT_PLUGIN_UNKNOWN', /is not installed where .* looks\. Did you mean "querent-plugin-exact"\?/],
    ['a plugin’s own name', 'exact', 'QRT_PLUGIN_UNKNOWN', /Did you mean "querent-plugin-exact"\?/],
    ['a file that is not there', './owm.mjs', 'QRT_PLUGIN_UNKNOWN', /There is no file .*owm\.mjs.*Did you mean own\.mjs\?/],
    ['a path in a package that leads out of it', 'querent-plugin-exact/../left-pad', 'QRT_PLUGIN_UNKNOWN', /is not installed/],
    ['nothing', '', 'QRT_PLUGIN_UNKNOWN', /is not installed/],
    ['another contract', 'querent-plugin-old', 'QRT_PLUGIN_INVALID', /"old" of querent-plugin-old.*\n.*contract is 2, this version keeps contract 1 \(its package\.json asks for @querent\/core \^2\.0\.0\)/],
    ['a missing function', 'querent-plugin-empty', 'QRT_PLUGIN_INVALID', /run is missing, expected a function/],
    ['a module that throws', 'querent-plugin-throws', 'QRT_PLUGIN_INVALID', /failed while it was imported: no such thing/],
    ['a module whose dependency lacks', 'querent-plugin-lacking', 'QRT_PLUGIN_INVALID', /Cannot find package 'a-package-that-is-not-there'/],
    ['no default export', 'querent-plugin-named', 'QRT_PLUGIN_INVALID', /no default export; its export exact is a plugin/],
    ['a package that was not built', 'querent-plugin-unbuilt', 'QRT_PLUGIN_INVALID', /dist\/index\.js is not there/],
    ['a number', 42, 'QRT_PLUGIN_INVALID', /A plugin is a number/],
  ])('refuses %s', async (_, name, code, message) => {
    await expect(importPlugins([name], { from: root })).rejects.toEqual(coded(code, message));
  });

  test('says which two packages clash', async () => {
    await expect(named('querent-plugin-exact', '@me/querent-plugin-exact')).rejects.toEqual(
      coded('QRT_PLUGIN_INVALID', /^querent-plugin-exact and @me\/querent-plugin-exact both have a metric called "exact"/),
    );
  });
});

describe('withDocumentPlugins', () => {
  const from = (plugins: unknown, registry = createRegistry([])): ReturnType<typeof withDocumentPlugins> => withDocumentPlugins(registry, { plugins, file: 'config.json' }, { from: root });

  test('adds what a document names, once, and leaves the registry as it was', async () => {
    const registry = createRegistry([]);
    const one = await from(['querent-plugin-exact'], registry);
    expect(one.has('metric', 'exact')).toBe(true);
    expect(registry.has('metric', 'exact')).toBe(false);
    expect(await from(['querent-plugin-exact'], registry)).toBe(one);
    expect(await withDocumentPlugins(registry, { plugins: undefined })).toBe(registry);
  });

  test('does not import a path, nor a package that does not say that it is a plugin', async () => {
    await expect(from(['./own.mjs'])).rejects.toEqual(coded('QRT_CONFIG_INVALID', /config\.json names the plugin "\.\/own\.mjs", which is no package/));
    await expect(from(['left-pad'])).rejects.toEqual(coded('QRT_PLUGIN_INVALID', /"left-pad", which does not say that it is a plugin/));
    expect('padded' in globalThis).toBe(false);
    await expect(from('querent-plugin-exact')).rejects.toEqual(coded('QRT_CONFIG_INVALID', /\/plugins {2}is "querent-plugin-exact", expected an array/));
  });

  test('lets nothing be replaced', async () => {
    const own = { kind: 'metric', name: 'exact', contract: 1, evaluate: () => ({ figures: {} }) };
    await expect(from(['querent-plugin-exact'], createRegistry([own]))).rejects.toEqual(coded('QRT_PLUGIN_INVALID', /would replace one that is there/));
  });
});

test('a pipeline document finds the tasks of the packages that it names', async () => {
  const model = await writeTinyModel(join(root, 'document'), 'llama');
  await install('querent-plugin-shout', `export default {
    kind: 'task', name: 'shout', contract: 1, description: 'Says a text loudly.',
    input: { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] },
    output: { type: 'object', properties: { loud: { type: 'string' } }, required: ['loud'] },
    async *run({ text }) { yield { loud: text.toUpperCase() }; },
  };`);
  const document = { model, plugins: ['querent-plugin-shout'], source: { list: [{ text: 'hello' }] }, stages: [{ task: 'shout' }] };
  await using querent = await createQuerent({ inPlace: true, threads: 1 });
  const before = process.cwd();
  try {
    process.chdir(root);
    const results: unknown[] = [];
    for await (const event of runPipeline(document, { querent })) if (event.type === 'item') results.push(event.result);
    expect(results).toEqual([expect.objectContaining({ text: 'hello', loud: 'HELLO' })]);
  } finally {
    process.chdir(before);
  }
});

test('a model whose config names a plugin’s encoder loads when the package is installed', async () => {
  const model = await writeTinyModel(join(root, 'models'), 'llama');
  await cp(join(root, 'models', 'vision'), join(root, 'models', 'renamed'), { recursive: true });
  const edit = async (file: string, change: object): Promise<void> => writeFile(file, JSON.stringify({ ...(JSON.parse(await readFile(file, 'utf8')) as object), ...change }));
  await edit(join(root, 'models', 'renamed', 'config.json'), { model_type: 'my_vit' });
  await edit(join(model, 'config.json'), { vision_config: { from: '../renamed' }, plugins: ['querent-plugin-my-vit'] });
  Object.assign(globalThis, { vitOfTest: vitPlugin }); // a module in a temporary folder has no packages of ours
  await install('querent-plugin-my-vit', `export default { ...globalThis.vitOfTest, name: 'my_vit', configSchema: {} };`);
  await using querent = await createQuerent({ inPlace: true, threads: 1 });
  const before = process.cwd();
  try {
    process.chdir(root);
    const loaded = await querent.load(model);
    expect(loaded.capabilities.has('generate')).toBe(true);
  } finally {
    process.chdir(before);
  }
  expect(querent.registry.has('encoder', 'my_vit')).toBe(false);
});
