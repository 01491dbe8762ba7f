/**
 * What all plugins have in common. A plugin is a plain value: its `kind` says which contract of this folder it keeps, its
 * `name` is what configs and calls ask for. Made with a function of `define.ts`, found through `di/registry.ts`.
 */
import type { BridgePlugin } from './bridge.ts';
import type { DatasetPlugin } from './dataset.ts';
import type { EncoderPlugin } from './encoder.ts';
import type { EnginePlugin } from './engine-plugin.ts';
import type { LanguageModelPlugin } from './language-model.ts';
import type { MetricPlugin } from './metric.ts';
import type { ObjectivePlugin } from './objective.ts';
import type { StorePlugin } from './store.ts';
import type { TaskPlugin } from './task.ts';

/** The version of the contracts of this folder. A plugin written for another one is refused. */
export const CONTRACT_VERSION = 1;

/** A JSON Schema (draft-07), as ajv reads it. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** Each kind of plugin with the contract that it keeps. */
export interface PluginKinds {
  readonly engine: EnginePlugin;
  readonly encoder: EncoderPlugin;
  readonly bridge: BridgePlugin;
  readonly 'language-model': LanguageModelPlugin;
  readonly objective: ObjectivePlugin;
  readonly task: TaskPlugin;
  readonly dataset: DatasetPlugin;
  readonly metric: MetricPlugin;
  readonly store: StorePlugin;
}

export type PluginKind = keyof PluginKinds;

/** Any plugin; `kind` tells which. */
export type Plugin = PluginKinds[PluginKind];

/** The fields that every plugin has. */
export interface PluginBase<Kind extends PluginKind = PluginKind> {
  readonly kind: Kind;
  /** What configs, commands and calls ask for; unique within its kind. */
  readonly name: string;
  /** The version of the contract that it was written for: {@link CONTRACT_VERSION}. */
  readonly contract: 1;
  /** One sentence for lists and `--help`. */
  readonly description?: string;
  /** JSON Schema of the plugin's config. */
  readonly configSchema?: JsonSchema;
  /** Frees what the plugin holds; called once, when the registry that it was registered in is disposed. */
  dispose?(): void | Promise<void>;
}
