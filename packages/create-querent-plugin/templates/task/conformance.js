import { test } from 'node:test';
import assert from 'node:assert/strict';
import { taskConformance } from '@querent/core/testing';
import { pipeline } from 'querent';
import plugin from '../dist/index.js';

/** 64 × 64 pixels of one colour: a real test reads a photograph. */
const image = { width: 64, height: 64, channels: 3, data: new Uint8Array(64 * 64 * 3).fill(180) };

// The model that comes with Querent, on its default engine.
const run = await pipeline('NAME', { plugins: [plugin] });
test.after(() => run.dispose());

for (const check of taskConformance(plugin, { model: run.model, inputs: [{ image }], wrong: [{}, { image, prompt: 1 }] })) test(check.name, check.run);

test('writes a sentence and counts its words', async () => {
  const { text, words } = await run({ image });
  assert.ok(text.length > 0);
  assert.equal(words, text.split(/\s+/).length);
});
