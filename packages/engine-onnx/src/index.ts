// Engines
export { createOnnxEngine } from './engine.ts';
export type { OnnxEngine, OnnxEngineOptions } from './engine.ts';

// Execution providers
export { PROVIDERS, availableProviders } from './providers.ts';
export type { AvailableProvider, Provider } from './providers.ts';
