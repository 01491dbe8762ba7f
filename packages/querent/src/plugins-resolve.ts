/**
 * From a plugin's name to the file to import: a path counts from a folder, a package name is looked up in the `node_modules` of that
 * folder and those above it, as Node does, with what its package.json says for `import`. Read `plugins.ts` first.
 */
import { readFile, readdir, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { QuerentError, nearest } from '@querent/core';
import { isJsonObject } from '@querent/hub';
import type { JsonObject } from '@querent/hub';

/** Where a plugin's code is. */
export interface PluginFile {
  /** The module to import. */
  readonly path: string;
  /** The package.json beside or above it; empty for a file that has none. */
  readonly manifest: JsonObject;
}

/** `name`, `@scope/name`, either with `/a/path` behind it. */
const PACKAGE = /^((?:@[\w.-]+\/)?[\w-][\w.-]*)(\/[\w./-]+)?$/;

/** Packages in one `node_modules` that are compared with a name that is not there. */
const MOST_NEIGHBOURS = 5000;

/** Is it the name of a package, and not a path? `name.mjs` may be both. */
export function isPackageName(name: string): boolean {
  return PACKAGE.test(name) && !name.split('/').includes('..');
}

/**
 * @param name a package, or a path of a file or of a package's folder
 * @param folder that paths and packages are looked up from
 * @throws QuerentError QRT_PLUGIN_UNKNOWN when it is not there, with near names; QRT_PLUGIN_INVALID when a package names no module.
 */
export async function findPlugin(name: string, folder: string): Promise<PluginFile> {
  const isPath = name.startsWith('.') || isAbsolute(name) || name.startsWith('file:');
  if (isPath) return findFile(name.startsWith('file:') ? fileURLToPath(name) : name, folder);
  const [, packageName, inside] = PACKAGE.exec(name) ?? [];
  const found = packageName === undefined || !isPackageName(name) ? undefined : await packageFolder(packageName, folder);
  if (found !== undefined) return moduleOf(found, inside === undefined ? '.' : `.${inside}`, name);
  if (name !== '' && !name.includes('..') && (await kindOf(resolve(folder, name))) !== undefined) return findFile(name, folder); // plugin.mjs, without ./
  throw await unknown(name, packageName, folder);
}

async function findFile(name: string, folder: string): Promise<PluginFile> {
  const path = resolve(folder, name);
  const kind = await kindOf(path);
  if (kind === 'folder') return moduleOf(path, '.', name);
  if (kind === 'file') return { path, manifest: await nearestManifest(dirname(path)) };
  const near = nearest(path.slice(dirname(path).length + 1), await readdir(dirname(path)).catch(() => []));
  throw new QuerentError('QRT_PLUGIN_UNKNOWN', `There is no file ${path}, which the plugin ${JSON.stringify(name)} names.${near === undefined ? '' : ` Did you mean ${join(dirname(name), near)}?`}`, {
    fix: 'A path counts from the working directory; a package is named without ./.',
    details: { name, path },
  });
}

async function packageFolder(name: string, from: string): Promise<string | undefined> {
  for (let at = resolve(from); ; at = dirname(at)) {
    const path = join(at, 'node_modules', name);
    if ((await kindOf(join(path, 'package.json'))) === 'file') return path;
    // A package may name itself: in its own folder a plugin is tried under its own name.
    const own = await manifestIn(at);
    if (own?.['name'] === name) return at;
    if (dirname(at) === at) return undefined;
  }
}

async function moduleOf(folder: string, subpath: string, name: string): Promise<PluginFile> {
  const manifest = (await manifestIn(folder)) ?? {};
  const exports = manifest['exports'];
  const main = typeof manifest['main'] === 'string' ? manifest['main'] : 'index.js';
  const target = exports === undefined || exports === null ? (subpath === '.' ? main : subpath) : exported(exports, subpath);
  const path = target === undefined ? undefined : resolve(folder, target);
  if (path !== undefined && (await kindOf(path)) === 'file') return { path, manifest };
  throw new QuerentError('QRT_PLUGIN_INVALID', `The plugin ${JSON.stringify(name)} has no module to import: ${path === undefined ? `the exports of ${join(folder, 'package.json')} have no "${subpath}"` : `${path} is not there`}.`, {
    fix: 'Build the package (npm run build), or let "exports" in its package.json name the built file.',
    details: { name, folder },
  });
}

/** What `exports` names for `import`; patterns (`./*`) are not read, a plugin has an entry. */
function exported(exports: unknown, subpath: string): string | undefined {
  const isMap = isJsonObject(exports) && Object.keys(exports).some((key) => key.startsWith('.'));
  return conditioned(isMap ? exports[subpath] : subpath === '.' ? exports : undefined);
}

function conditioned(target: unknown): string | undefined {
  if (typeof target === 'string') return target.startsWith('./') ? target : undefined;
  if (Array.isArray(target)) return target.map(conditioned).find((one) => one !== undefined);
  if (!isJsonObject(target)) return undefined;
  for (const [condition, inner] of Object.entries(target)) {
    const found = ['node', 'import', 'module-sync', 'default'].includes(condition) ? conditioned(inner) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

async function nearestManifest(from: string): Promise<JsonObject> {
  for (let at = from; ; at = dirname(at)) {
    const found = await manifestIn(at);
    if (found !== undefined || dirname(at) === at) return found ?? {};
  }
}

async function manifestIn(folder: string): Promise<JsonObject | undefined> {
  try {
    const manifest: unknown = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
    return isJsonObject(manifest) ? manifest : undefined;
  } catch {
    return undefined; // none, or one that npm could not read either
  }
}

async function kindOf(path: string): Promise<'file' | 'folder' | undefined> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() === true ? 'file' : found?.isDirectory() === true ? 'folder' : undefined;
}

async function unknown(name: string, packageName: string | undefined, folder: string): Promise<QuerentError> {
  const installed = await installedNames(folder);
  const near = [name, `querent-plugin-${name}`].map((wanted) => nearest(wanted, installed)).find((one) => one !== undefined);
  return new QuerentError('QRT_PLUGIN_UNKNOWN', `The plugin ${JSON.stringify(name)} is not installed where ${resolve(folder)} looks.${near === undefined ? '' : ` Did you mean ${JSON.stringify(near)}?`}`, {
    fix: packageName === undefined ? 'Name a package, or a path that begins with ./.' : `npm install ${packageName}; a file is named by its path, ./plugin.mjs.`,
    details: { name, folder: resolve(folder), ...(near === undefined ? {} : { nearest: near }) },
  });
}

/** Names in the `node_modules` of a folder and those above it. */
async function installedNames(from: string): Promise<string[]> {
  const names: string[] = [];
  for (let at = resolve(from); ; at = dirname(at)) {
    for (const entry of (await readdir(join(at, 'node_modules')).catch(() => [])).slice(0, MOST_NEIGHBOURS)) {
      if (entry.startsWith('@')) names.push(...(await readdir(join(at, 'node_modules', entry)).catch(() => [])).slice(0, MOST_NEIGHBOURS).map((inner) => `${entry}/${inner}`));
      else names.push(entry);
    }
    if (dirname(at) === at) return names;
  }
}
