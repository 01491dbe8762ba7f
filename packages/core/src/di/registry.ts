/**
 * The plugin registry: an inversify container behind four functions. The composition root (`querent`) makes one; models,
 * tasks and engines are handed what they need and never see it. A child registry overrides without leaking: a test's engine,
 * one model's own encoder.
 */
import { Container, ContainerModule } from 'inversify';
import type { Plugin, PluginKind, PluginKinds } from '../contracts/plugin.ts';
import { QuerentError } from '../errors.ts';
import { nearest } from '../nearest.ts';
import type { CheckPluginOptions } from './check-plugin.ts';
import { checkPlugin } from './check-plugin.ts';
import { PLUGIN_KINDS, TOKENS } from './tokens.ts';

/** Plugins by kind and name. */
export interface PluginRegistry extends AsyncDisposable {
  /** @throws QuerentError QRT_PLUGIN_UNKNOWN that lists what is registered, and the nearest name. */
  get<K extends PluginKind>(kind: K, name: string): PluginKinds[K];
  has(kind: PluginKind, name: string): boolean;
  /** All of a kind, the parent's included where they are not overridden, by name. */
  list<K extends PluginKind>(kind: K): readonly PluginKinds[K][];
  /**
   * A registry that looks here for what it does not have. Its plugins may have the names of this one's; disposing it leaves
   * this one as it is.
   *
   * @throws QuerentError QRT_PLUGIN_INVALID as {@link createRegistry} does.
   */
  child(plugins: Iterable<unknown>): PluginRegistry;
  /** Calls each plugin's `dispose`, children first. Twice is harmless. Afterwards nothing is found. */
  dispose(): Promise<void>;
}

/**
 * Registers plugins: built-in ones and those of others, through the same checks.
 *
 * @param plugins values of `defineX`; not trusted.
 * @param options `compileSchemas: false` for plugins whose schemas are known to compile (those that come with Querent: half a second
 *   of every start). Default true.
 * @throws QuerentError QRT_PLUGIN_INVALID for an unknown kind, two plugins of one kind and name, another contract version, a
 *   schema that does not compile, a missing function. Nothing is registered then.
 */
export function createRegistry(plugins: Iterable<unknown>, options: RegistryOptions = {}): PluginRegistry {
  return open(plugins, undefined, options);
}

export type RegistryOptions = Pick<CheckPluginOptions, 'compileSchemas'>;

interface Parent {
  readonly container: Container;
  readonly names: ReadonlyMap<PluginKind, ReadonlySet<string>>;
}

function open(plugins: Iterable<unknown>, parent: Parent | undefined, options: RegistryOptions = {}): PluginRegistry {
  const checked = checkAll(plugins, options);
  const container = new Container(parent === undefined ? {} : { parent: parent.container });
  container.load(
    new ContainerModule(({ bind }) => {
      for (const plugin of checked) {
        // Each token's type is its kind's contract, which checkPlugin has compared with the value.
        bind<unknown>(TOKENS[plugin.kind]).toConstantValue(plugin).whenNamed(plugin.name).onDeactivation(disposePlugin);
      }
    }),
  );
  // inversify deactivates only what has been resolved: a plugin that nobody asked for is disposed as well.
  for (const { kind, name } of checked) container.get<unknown>(TOKENS[kind], { name });
  const names = new Map(
    PLUGIN_KINDS.map((kind) => [kind, new Set([...(parent?.names.get(kind) ?? []), ...checked.filter((one) => one.kind === kind).map((one) => one.name)])]),
  );
  // Nearest first: this container's, then its parents'. A plain get would not look beyond a container that has the kind.
  const find = <K extends PluginKind>(kind: K, name: string): PluginKinds[K] | undefined =>
    closed === undefined && names.get(kind)?.has(name) === true ? container.getAll(TOKENS[kind], { name, chained: true })[0] : undefined;
  const children: PluginRegistry[] = [];
  let closed: Promise<void> | undefined;

  const registry: PluginRegistry = {
    get(kind, name) {
      const found = find(kind, name);
      if (found === undefined) throw unknownPlugin(kind, name, closed === undefined ? [...(names.get(kind) ?? [])] : [], closed !== undefined);
      return found;
    },
    has: (kind, name) => find(kind, name) !== undefined,
    list: (kind) => [...(names.get(kind) ?? [])].sort().flatMap((name) => find(kind, name) ?? []),
    child(more) {
      const made = open(more, { container, names });
      children.push(made);
      return made;
    },
    dispose() {
      closed ??= (async () => {
        for (const one of children) await one.dispose();
        await container.unbindAllAsync();
      })();
      return closed;
    },
    [Symbol.asyncDispose]: () => registry.dispose(),
  };
  return registry;
}

function checkAll(plugins: Iterable<unknown>, options: RegistryOptions): Plugin[] {
  const checked: Plugin[] = [];
  const seen = new Map<string, Plugin>();
  for (const value of plugins) {
    const plugin = checkPlugin(value, options);
    const key = `${plugin.kind} ${plugin.name}`;
    const other = seen.get(key);
    if (other === plugin) continue; // the same value twice is one plugin
    if (other !== undefined) {
      throw new QuerentError('QRT_PLUGIN_INVALID', `Two plugins are called ${plugin.kind} ${JSON.stringify(plugin.name)}.`, {
        fix: 'Give one of them another name, or register it in a child registry, where it overrides the other.',
        details: { kind: plugin.kind, name: plugin.name },
      });
    }
    seen.set(key, plugin);
    checked.push(plugin);
  }
  return checked;
}

async function disposePlugin(plugin: unknown): Promise<void> {
  const { dispose } = plugin as { dispose?: unknown }; // any object may be asked
  if (typeof dispose === 'function') await dispose.call(plugin);
}

function unknownPlugin(kind: string, name: string, registered: readonly string[], isClosed: boolean): QuerentError {
  const near = nearest(name, registered);
  const have = registered.length === 0 ? 'none is' : [...registered].sort().join(', ');
  return new QuerentError(
    'QRT_PLUGIN_UNKNOWN',
    `There is no ${kind} called ${JSON.stringify(name)}. ${isClosed ? 'The registry has been disposed.' : `Registered: ${have}.`}${near === undefined ? '' : ` Did you mean ${JSON.stringify(near)}?`}`,
    {
      fix: 'A plugin of another package is found when it is named: --plugin PACKAGE, or `plugins` in the call.',
      details: { kind, name, registered, ...(near === undefined ? {} : { nearest: near }) },
    },
  );
}
