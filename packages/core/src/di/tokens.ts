/** One typed service identifier per plugin kind: what inversify binds plugins under, each named by the plugin's name. */
import type { ServiceIdentifier } from 'inversify';
import type { PluginKind, PluginKinds } from '../contracts/plugin.ts';

type Tokens = { readonly [K in PluginKind]: ServiceIdentifier<PluginKinds[K]> };

export const TOKENS: Tokens = {
  engine: Symbol.for('querent.plugin.engine'),
  encoder: Symbol.for('querent.plugin.encoder'),
  bridge: Symbol.for('querent.plugin.bridge'),
  'language-model': Symbol.for('querent.plugin.language-model'),
  objective: Symbol.for('querent.plugin.objective'),
  task: Symbol.for('querent.plugin.task'),
  dataset: Symbol.for('querent.plugin.dataset'),
  metric: Symbol.for('querent.plugin.metric'),
  store: Symbol.for('querent.plugin.store'),
};

/** Every kind, in the order of the picture: engine, the three parts of a model, then what is done with it. */
export const PLUGIN_KINDS: readonly PluginKind[] = Object.keys(TOKENS) as PluginKind[]; // keyof Tokens is PluginKind
