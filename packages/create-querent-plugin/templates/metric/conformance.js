import { test } from 'node:test';
import assert from 'node:assert/strict';
import { metricConformance } from '@querent/core/testing';
import plugin from '../dist/index.js';

const judged = [
  { id: '1', prediction: 'a dog runs', reference: ['a dog runs in the snow', 'dog runs'] },
  { id: '2', prediction: 'a cat', reference: ['two men'] },
];

for (const check of metricConformance(plugin, { judged, config: {} })) test(check.name, check.run);

test('the best reference counts', async () => {
  const { figures } = await plugin.evaluate(judged, {});
  assert.deepEqual(figures, { 'NAME': 0.5 });
});
