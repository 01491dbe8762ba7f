/** Image vectors in a Qdrant server: `location` is `http://HOST:6333/COLLECTION`; the key of a guarded server is QDRANT_API_KEY. */
import { defineStore } from '@querent/core';
import type { StorePlugin } from '@querent/core';
import { QdrantStore } from './qdrant-store.ts';

const plugin: StorePlugin = defineStore({
  name: 'qdrant',
  description: 'Vectors in a collection of a Qdrant server, an image’s queries as one multivector.',
  open: (location, options = {}) => QdrantStore.open(location, options),
});
export default plugin;
