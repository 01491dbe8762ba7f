import { test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { datasetConformance } from '@querent/core/testing';
import plugin from '../dist/index.js';

const root = await mkdtemp(join(tmpdir(), 'NAME-'));
test.after(() => rm(root, { recursive: true, force: true }));
await writeFile(join(root, 'captions.tsv'), 'a.jpg\ta dog runs\na.jpg\ta brown dog\nb.jpg\ttwo cats\n');
await writeFile(join(root, 'broken.tsv'), 'a.jpg a dog runs\n');

for (const check of datasetConformance(plugin, { config: { file: 'captions.tsv' }, root })) test(check.name, check.run);

test('captions of one image are together', async () => {
  const samples = [];
  for await (const sample of plugin.open({ file: 'captions.tsv' }, { root })) samples.push(sample);
  assert.deepEqual(samples.map(({ id, captions }) => [id, captions.length]), [['a.jpg', 2], ['b.jpg', 1]]);
});

test('a bad line is named', async () => {
  await assert.rejects(async () => { for await (const _ of plugin.open({ file: 'broken.tsv' }, { root })); }, { code: 'QRT_DATASET', message: /broken\.tsv:1/ });
});
