/** `querent caption --model org/name` through the real command line, against a hub of our own named by `HF_ENDPOINT`. */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { PHOTOS, querent, temporary, tinyModel } from './command-line.ts';
import { startHub } from './hub-server.ts';

it('captions with a model of the hub, and again from the cache with the hub gone', async () => {
  await using folder = await temporary();
  const model = await tinyModel(folder.path);
  const files = new Map<string, Buffer>();
  for (const name of await readdir(model)) files.set(name, await readFile(join(model, name)));
  const hub = await startHub({ 'acme/tiny': { commit: 'c'.repeat(40), files } });
  const words = ['caption', join(PHOTOS, 'cat.jpg'), '--model', 'acme/tiny', '--max-new-tokens', '4'];
  const environment = `export HF_ENDPOINT=${hub.endpoint} HF_HOME=${join(folder.path, 'home')}; unset HF_TOKEN HF_HUB_CACHE HF_HUB_OFFLINE`;
  const first = await querent(words, { before: environment });
  const asked = hub.requests.length;
  await hub[Symbol.asyncDispose]();
  expect(first.stderr).toBe('');
  expect(first).toMatchObject({ code: 0, stdout: expect.stringContaining('cat.jpg') });
  expect(asked).toBeGreaterThan(4);
  const second = await querent(words, { before: environment });
  expect(second).toMatchObject({ code: 0, stdout: first.stdout });
  const other = await querent(['inspect', 'acme/none'], { before: `${environment}; export HF_HUB_OFFLINE=1` });
  expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining('error QRT_HUB_OFFLINE') });
}, 300_000);
