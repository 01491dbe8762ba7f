/** How an engine is offered: a plugin that makes engines (`engine.ts`), one for each backend and set of options. Types only. */
import type { Engine, EngineOptions } from './engine.ts';
import type { PluginBase } from './plugin.ts';

/** Whether a backend can be used on this machine. */
export interface BackendStatus {
  /** `cpu`, `cuda`, `webgpu`, … */
  readonly backend: string;
  readonly available: boolean;
  /** Why not, and what to install; or what it is (a device's name, a version). */
  readonly note?: string;
}

/** A family of engines, for instance `onnxruntime`: asked for as `name` or `name:backend`. */
export interface EnginePlugin extends PluginBase<'engine'> {
  /** The backends that it knows; the first is the default. */
  readonly backends: readonly string[];
  /**
   * Starts an engine; the caller disposes it.
   *
   * @throws QuerentError QRT_ENGINE_PROVIDER when the backend is unknown or not available here.
   */
  create(options?: EngineOptions): Promise<Engine>;
  /** What of it works here, without starting anything heavy: `querent doctor` prints it. */
  probe?(): Promise<readonly BackendStatus[]>;
}
