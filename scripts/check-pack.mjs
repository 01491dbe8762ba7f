/**
 * Packs every package as it would be published, and fails when a tarball lacks what it needs or carries what it should not, or when
 * publint or arethetypeswrong find fault. `node scripts/check-pack.mjs [FOLDER]` leaves the tarballs in FOLDER. test/package
 * installs them.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { PNPM, ROOT } from './workspace.mjs';

const run = promisify(execFile);

/** Tarballs by package name. */
export async function packAll(folder) {
  for (const name of await readdir(join(ROOT, 'packages'))) await removeStale(join(ROOT, 'packages', name));
  await mkdir(folder, { recursive: true });
  await run('npx', ['--yes', PNPM, '-r', '--filter', './packages/*', 'pack', '--pack-destination', folder], { cwd: ROOT, maxBuffer: 2 ** 26 });
  const tarballs = new Map();
  for (const file of await readdir(folder)) {
    if (!file.endsWith('.tgz')) continue;
    const path = join(folder, file);
    const entries = readTar(gunzipSync(await readFile(path)));
    const manifest = JSON.parse(entries.get('package/package.json')?.toString('utf8') ?? '{}');
    const contents = new Map([...entries].map(([name, bytes]) => [name.replace(/^package\//, ''), bytes]));
    tarballs.set(manifest.name, { path, manifest, contents, files: [...contents.keys()] });
  }
  return tarballs;
}

/** `tsc -b` leaves in dist what it made of sources that are gone: such files would be published. */
async function removeStale(folder) {
  const dist = join(folder, 'dist');
  if (!existsSync(dist)) return;
  for (const file of await readdir(dist, { recursive: true })) {
    const source = /^(.*?)(\.d\.ts|\.js)(\.map)?$/.exec(file)?.[1];
    if (source !== undefined && !existsSync(join(folder, 'src', `${source}.ts`))) await rm(join(dist, file), { force: true });
  }
}

/** Name → bytes of the plain files of a tar archive. */
function readTar(bytes) {
  const entries = new Map();
  for (let at = 0; at + 512 <= bytes.length && bytes[at] !== 0; ) {
    const text = (start, length) => bytes.toString('utf8', at + start, at + start + length).replace(/\0.*$/s, '');
    const size = Number.parseInt(text(124, 12).trim(), 8) || 0;
    const prefix = text(345, 155);
    const name = prefix === '' ? text(0, 100) : `${prefix}/${text(0, 100)}`;
    if (text(156, 1) === '0' || text(156, 1) === '') entries.set(name, bytes.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return entries;
}

/** One line a mistake. */
export function checkTarballs(tarballs) {
  const mistakes = [];
  for (const [name, { manifest, files, contents }] of tarballs) {
    const has = (file) => files.includes(file.replace(/^\.\//, ''));
    for (const file of ['README.md', 'LICENSE', 'package.json']) if (!has(file)) mistakes.push(`${name}: ${file} is not packed.`);
    for (const file of files) if (/\.test(-helper|-d)?\.|\.tsbuildinfo$|node_modules\/|^(dist\/)?(test|fixtures)\//.test(file)) mistakes.push(`${name}: ${file} should not be packed.`);
    for (const [file, bytes] of contents) mistakes.push(...missingSources(file, bytes, has).map((source) => `${name}: ${file} names ${source}, which is not packed.`));
    for (const [path, target] of Object.entries(manifest.exports ?? {})) {
      for (const file of typeof target === 'string' ? [target] : Object.values(target)) if (!file.includes('*') && !has(file)) mistakes.push(`${name}: exports["${path}"] names ${file}, which is not packed.`);
    }
    for (const file of Object.values(manifest.bin ?? {})) if (!has(file)) mistakes.push(`${name}: bin names ${file}, which is not packed.`);
    for (const [dependency, version] of Object.entries(manifest.dependencies ?? {})) {
      if (/^(workspace|catalog|link|file):/.test(version)) mistakes.push(`${name}: ${dependency} has the version ${version}, which npm does not know.`);
      if (/^@querent\/|^querent$|^create-querent-/.test(dependency) && !tarballs.has(dependency)) mistakes.push(`${name}: ${dependency} is not among the packages.`);
    }
    for (const key of ['license', 'description', 'keywords', 'engines', 'exports', 'files']) if (manifest[key] === undefined) mistakes.push(`${name}: package.json has no ${key}.`);
    if (manifest.type !== 'module') mistakes.push(`${name}: package.json is not of type module.`);
  }
  return mistakes;
}

/** The sources of a source map or declaration map that are not packed with it. */
function missingSources(file, bytes, has) {
  if (!/\.(js|d\.ts)\.map$/.test(file)) return [];
  const { sources = [], sourceRoot = '' } = JSON.parse(bytes.toString('utf8'));
  return sources.map((source) => posix.join(posix.dirname(file), sourceRoot, source)).filter((source) => !has(source));
}

/** What publint and arethetypeswrong say of each tarball, one line a finding. The packages are ESM: how CommonJS would see them is not asked. */
export async function lintTarballs(tarballs) {
  const mistakes = [];
  for (const [name, { path, manifest }] of tarballs) {
    const bytes = new Uint8Array(await readFile(path));
    const { messages } = await publint({ pack: { tarball: bytes.buffer }, level: 'suggestion' });
    for (const message of messages) mistakes.push(`${name}: publint: ${formatMessage(message, manifest, { color: false })}`);
    if (manifest.exports['.'] === undefined) continue; // data without code has no types
    const { types, problems = [] } = await checkPackage(createPackageFromTarballData(bytes), { entrypointsLegacy: false });
    if (types === false) mistakes.push(`${name}: arethetypeswrong: there are no types.`);
    for (const problem of problems) {
      if (problem.resolutionKind === 'node10' || problem.resolutionKind === 'node16-cjs') continue;
      mistakes.push(`${name}: arethetypeswrong: ${problem.kind} ${problem.entrypoint ?? problem.typesFileName ?? problem.fileName ?? ''}`);
    }
  }
  return mistakes;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const given = process.argv[2];
  const folder = given ?? (await mkdtemp(join(tmpdir(), 'querent-pack-')));
  const tarballs = await packAll(folder);
  const mistakes = [...checkTarballs(tarballs), ...(await lintTarballs(tarballs))];
  for (const line of mistakes) process.stderr.write(`${line}\n`);
  if (given === undefined) await rm(folder, { recursive: true, force: true });
  process.exitCode = mistakes.length > 0 ? 1 : 0;
}
