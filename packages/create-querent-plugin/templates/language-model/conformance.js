import { test } from 'node:test';
import { languageModelConformance } from '@querent/core/testing';
import { createGraph } from '@querent/graph';
import { createQuerent } from 'querent';
import plugin from '../dist/index.js';

const config = { vocab_size: 40, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, bos_token_id: 1, eos_token_id: 2, pad_token_id: 0 };

const querent = await createQuerent({ plugins: [plugin] });
test.after(() => querent.dispose());

// Decoding token by token must give what reading the whole text at once gives: that is where families go wrong.
for (const check of languageModelConformance(plugin, { engine: await querent.engine(), createGraph, config })) test(check.name, check.run);
