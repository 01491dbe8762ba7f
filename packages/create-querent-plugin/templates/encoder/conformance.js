import { test } from 'node:test';
import { encoderConformance } from '@querent/core/testing';
import { createGraph } from '@querent/graph';
import { createQuerent } from 'querent';
import plugin from '../dist/index.js';

const querent = await createQuerent({ plugins: [plugin] });
test.after(() => querent.dispose());

// With small sizes: weights are drawn, and the graph runs on the default engine.
for (const check of encoderConformance(plugin, { engine: await querent.engine(), createGraph, config: plugin.defaults })) test(check.name, check.run);
