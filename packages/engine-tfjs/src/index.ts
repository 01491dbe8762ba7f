// The engine
export { createTfjsEngine } from './engine.ts';
export type { TfjsEngine } from './engine.ts';

// Backends
export { BACKENDS } from './backends.ts';
export type { BackendChoice, BackendName, OpenBackend } from './backends.ts';

// The plugin value
export { default as tfjs } from './plugins.ts';
