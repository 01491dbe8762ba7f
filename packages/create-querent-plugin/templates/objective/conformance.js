import { test } from 'node:test';
import { objectiveConformance } from '@querent/core/testing';
import { createGraph } from '@querent/graph';
import { createQuerent } from 'querent';
import plugin from '../dist/index.js';

const querent = await createQuerent({ plugins: [plugin] });
test.after(() => querent.dispose());

const bridge = querent.registry.get('bridge', 'blip_2_qformer');
const config = {
  ...bridge.defaults, vocab_size: 40, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16,
  encoder_hidden_size: 8, num_query_tokens: 4, max_position_embeddings: 16,
};
for (const check of objectiveConformance(plugin, { engine: await querent.engine(), createGraph, bridge, bridgeConfig: config, config: {} })) test(check.name, check.run);
