/**
 * Plugins of other packages: from what a call, a command line or a document names to plugin values that have been checked. Nothing is
 * found by scanning: what is not named is not imported. A name is a package, or (never in a document) a path.
 */
import { pathToFileURL } from 'node:url';
import { QuerentError, checkPlugin, validate } from '@querent/core';
import type { JsonSchema, Plugin, PluginRegistry } from '@querent/core';
import { findPlugin, isPackageName } from './plugins-resolve.ts';
import type { PluginFile } from './plugins-resolve.ts';

/** A package says with this keyword that it is a plugin; a document may name no other. */
export const PLUGIN_KEYWORD = 'querent-plugin';

export interface ImportPluginsOptions {
  /** The folder that paths and packages are looked up from. Default the working directory. */
  readonly from?: string;
}

/**
 * Imports what the names stand for, in their order. A module's default export is one plugin or a list of them.
 *
 * @param names packages (`querent-plugin-alt-text`), paths (`./alt-text.mjs`, a package's folder), or plugin values, which are
 *   only checked
 * @throws QuerentError QRT_PLUGIN_UNKNOWN for what is not there, QRT_PLUGIN_INVALID for a module that throws, exports no plugin,
 *   one that does not keep its contract, or two of one kind and name.
 */
export async function importPlugins(names: Iterable<unknown>, { from = process.cwd() }: ImportPluginsOptions = {}): Promise<Plugin[]> {
  const imported = await Promise.all(
    [...names].map(async (name) => {
      if (typeof name !== 'string') return { source: undefined, plugins: [checkPlugin(name)] };
      return { source: name, plugins: await importFile(name, await findPlugin(name, from)) };
    }),
  );
  const owners = new Map<string, { readonly plugin: Plugin; readonly source: string | undefined }>();
  for (const { source, plugins } of imported) {
    for (const plugin of plugins) {
      const key = `${plugin.kind} ${plugin.name}`;
      const other = owners.get(key);
      if (other !== undefined && other.plugin !== plugin) throw conflict(plugin, [other.source, source]);
      owners.set(key, { plugin, source });
    }
  }
  return [...owners.values()].map(({ plugin }) => plugin);
}

async function importFile(name: string, { path, manifest }: PluginFile): Promise<Plugin[]> {
  const module = await importModule(name, path);
  const exported = module['default'];
  if (exported === undefined) {
    const named = Object.keys(module).find((key) => looksLikePlugin(module[key]));
    throw new QuerentError('QRT_PLUGIN_INVALID', `The plugin ${JSON.stringify(name)} has no default export${named === undefined ? '' : `; its export ${named} is a plugin`}.`, {
      fix: named === undefined ? 'Write `export default defineTask({ … })`; a list of plugins may be exported too.' : `Write \`export default ${named}\`.`,
      details: { name, path, exports: Object.keys(module) },
    });
  }
  const values: readonly unknown[] = Array.isArray(exported) ? exported : [exported];
  if (values.length === 0) throw new QuerentError('QRT_PLUGIN_INVALID', `The plugin ${JSON.stringify(name)} exports an empty list.`, { fix: 'Export what defineTask, defineEncoder, … returned.', details: { name, path } });
  const peers = manifest['peerDependencies'] as Readonly<Record<string, unknown>> | undefined; // of a package.json, read for a message only
  const wanted = peers?.['@querent/core'];
  return values.map((value, i) => checkPlugin(value, { source: values.length === 1 ? name : `${name}, plugin ${i + 1} of ${values.length}`, ...(typeof wanted === 'string' ? { peer: wanted } : {}) }));
}

async function importModule(name: string, path: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return (await import(pathToFileURL(path).href)) as Readonly<Record<string, unknown>>; // a module namespace
  } catch (cause) {
    const { code, message } = { code: undefined, message: String(cause), ...(cause instanceof Error ? { message: cause.message } : {}), ...(isCoded(cause) ? { code: cause.code } : {}) };
    const reason = message.split('\n')[0] ?? '';
    if (code === 'ERR_UNKNOWN_FILE_EXTENSION' && /\.[cm]?tsx?$/.test(path)) {
      throw new QuerentError('QRT_PLUGIN_INVALID', `The plugin ${JSON.stringify(name)} is TypeScript, which this Node (${process.versions.node}) does not run.`, { fix: 'Build it first and name the JavaScript file, or use Node 22.18 or newer.', details: { name, path }, cause });
    }
    const fix = code === 'ERR_MODULE_NOT_FOUND' ? 'Install the dependencies of the plugin: npm install in its folder, or npm install PLUGIN.' : 'The mistake is in the plugin: see the reason, and `--debug` for the stack.';
    throw new QuerentError('QRT_PLUGIN_INVALID', `The plugin ${JSON.stringify(name)} failed while it was imported: ${reason}`, { fix, details: { name, path }, cause });
  }
}

function isCoded(error: unknown): error is { readonly code: string } {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string';
}

function looksLikePlugin(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'kind' in value && 'contract' in value;
}

function conflict({ kind, name }: Plugin, sources: readonly (string | undefined)[]): QuerentError {
  const [one, other] = sources.map((source) => source ?? 'a value of the call');
  return new QuerentError('QRT_PLUGIN_INVALID', `${one} and ${other} both have a ${kind} called ${JSON.stringify(name)}.`, { fix: 'Name one of the two, or let the author of one choose another name.', details: { kind, name, sources } });
}

/** JSON Schema of the key `plugins` of a document. */
export const documentPluginsSchema: JsonSchema = {
  type: 'array',
  description: 'Packages of plugins that this document needs; they must be installed.',
  items: { type: 'string', minLength: 1, maxLength: 214 },
  maxItems: 64,
};

/** A document that may name plugins. */
export interface PluginDocument {
  /** The value of its key `plugins`; nothing happens when it is absent. */
  readonly plugins: unknown;
  /** Where it was read from, for messages. */
  readonly file?: string;
}

/** The registry that the last document's plugins went into, for each registry. */
const latest = new WeakMap<PluginRegistry, Promise<PluginRegistry>>();

/**
 * The registry with the plugins that a document names: a config, a recipe. A document may come from anybody, so it names packages
 * and not paths, only such as say that they are plugins ({@link PLUGIN_KEYWORD}), and they add to what is there without replacing it.
 *
 * @throws QuerentError QRT_CONFIG_INVALID for anything but a list of package names, and what {@link importPlugins} throws.
 */
export async function withDocumentPlugins(registry: PluginRegistry, document: PluginDocument, { from = process.cwd() }: ImportPluginsOptions = {}): Promise<PluginRegistry> {
  if (document.plugins === undefined) return registry;
  const { file } = document;
  const names = validate<readonly string[]>(documentPluginsSchema, document.plugins, { what: 'plugins', at: '/plugins', ...(file === undefined ? {} : { file }) });
  for (const name of names) await assertMayBeNamed(name, from, file);
  const plugins = await importPlugins(names, { from });
  // One after the other, each on top of the last: a plugin is registered, and disposed, once.
  const next = (latest.get(registry) ?? Promise.resolve(registry)).then((top) => add(top, plugins, file));
  latest.set(registry, next.catch(() => registry));
  return next;
}

async function assertMayBeNamed(name: string, from: string, file: string | undefined): Promise<void> {
  const where = file === undefined ? 'A document' : file;
  if (!isPackageName(name)) {
    throw new QuerentError('QRT_CONFIG_INVALID', `${where} names the plugin ${JSON.stringify(name)}, which is no package's name.`, { fix: 'Documents name packages; a file is named in the call or with --plugin ./plugin.mjs.', details: { name } });
  }
  const { manifest } = await findPlugin(name, from);
  const keywords: unknown = manifest['keywords'];
  if (Array.isArray(keywords) && keywords.includes(PLUGIN_KEYWORD)) return;
  throw new QuerentError('QRT_PLUGIN_INVALID', `${where} names the package ${JSON.stringify(name)}, which does not say that it is a plugin.`, {
    fix: `A plugin has the keyword "${PLUGIN_KEYWORD}" in its package.json. If you trust it, name it yourself: --plugin ${name}.`,
    details: { name },
  });
}

function add(top: PluginRegistry, plugins: readonly Plugin[], file: string | undefined): PluginRegistry {
  const fresh = plugins.filter(({ kind, name }) => !top.has(kind, name));
  for (const plugin of plugins) {
    if (fresh.includes(plugin) || top.get(plugin.kind, plugin.name) === plugin) continue;
    throw new QuerentError('QRT_PLUGIN_INVALID', `${file ?? 'A document'} names a plugin whose ${plugin.kind} ${JSON.stringify(plugin.name)} would replace one that is there.`, {
      fix: 'To replace it, name the plugin yourself: --plugin PACKAGE, or `plugins` in the call.',
      details: { kind: plugin.kind, name: plugin.name },
    });
  }
  return fresh.length === 0 ? top : top.child(fresh);
}
