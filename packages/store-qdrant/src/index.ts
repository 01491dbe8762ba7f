// The store, as the plugin that --plugin @querent/store-qdrant loads
export { default } from './plugin.ts';
export { QdrantStore } from './qdrant-store.ts';
