// Engines
export { createOnnxEngine } from './engine.ts';
export type { OnnxEngine, OnnxEngineOptions } from './engine.ts';
export { createEngine, createOnnxHost } from './host.ts';

// Preallocated outputs
export { allocateOutputs } from './buffers.ts';

// Execution providers
export { PROVIDERS, availableProviders } from './providers.ts';
export type { AvailableProvider, Provider } from './providers.ts';

// The plugin value
export { default as onnxruntime } from './plugins.ts';
