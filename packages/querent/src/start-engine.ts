/** Engines by name: `engine`, or `engine:backend` for one of its backends. */
import type { Engine, EngineOptions, PluginRegistry } from '@querent/core';

/** @throws QuerentError QRT_PLUGIN_UNKNOWN, QRT_ENGINE_PROVIDER */
export function startEngine(registry: PluginRegistry, name: string, options: Omit<EngineOptions, 'backend'>): Promise<Engine> {
  const [plugin = '', ...backend] = name.split(':');
  return registry.get('engine', plugin).create({ ...options, ...(backend.length === 0 ? {} : { backend: backend.join(':') }) });
}
