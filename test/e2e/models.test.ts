/** The models that ship: small enough, complete, and saying something true of photographs that ship too. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { pipeline } from 'querent';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MODELS = join(ROOT, 'models');
const PHOTOS = join(ROOT, 'test', 'photos');
const photo = (name: string): string => join(PHOTOS, `${name}.jpg`);

/** Without what a run keeps beside the weights (`.querent`: other precisions). */
function bytesBelow(folder: string): number {
  return readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    if (entry.name === '.querent') return sum;
    const path = join(folder, entry.name);
    return sum + (entry.isDirectory() ? bytesBelow(path) : statSync(path).size);
  }, 0);
}

it('all models together take at most 40 MB', () => {
  expect(bytesBelow(MODELS)).toBeLessThanOrEqual(40e6);
});

it('each model folder has a card', () => {
  for (const name of readdirSync(MODELS)) expect(existsSync(join(MODELS, name, 'README.md')), name).toBe(true);
});

describe.each(['querent-mini', 'querent-mini-t5'])('%s', (name) => {

  it('writes a sentence about each sample photograph, and not the same one', async () => {
    await using caption = await pipeline('caption', { model: join(MODELS, name), inPlace: true });
    const texts: string[] = [];
    for await (const result of caption(readdirSync(PHOTOS).filter((file) => file.endsWith('.jpg')).map((file) => join(PHOTOS, file)))) {
      if ('error' in result && result.error !== undefined) throw result.error;
      texts.push((result as { text: string }).text); // a result without an error has a text
    }
    for (const text of texts) expect(text).toMatch(/^[a-z0-9' ]{8,}$/);
    expect(new Set(texts).size).toBeGreaterThan(texts.length / 2);
  });

  it('goes on from a prompt', async () => {
    await using caption = await pipeline('caption', { model: join(MODELS, name), inPlace: true });
    const { text } = (await caption({ image: photo('cat'), prompt: 'a photo of' })) as { text: string };
    expect(text.length).toBeGreaterThan(3);
  });
});

it('querent-mini-retrieval tells which text is of which photograph more often than not', async () => {
  await using match = await pipeline('match', { model: join(MODELS, 'querent-mini-retrieval'), inPlace: true });
  const texts = { cat: 'a cat looks at the camera', rocket: 'a large plume of smoke and fire in the sky', astronaut: 'a smiling woman with short hair' };
  let right = 0;
  for (const [own, text] of Object.entries(texts)) {
    const similarity = async (name: string): Promise<number> => ((await match({ image: photo(name), text })) as { similarity: number }).similarity;
    const others = await Promise.all(Object.keys(texts).filter((name) => name !== own).map(similarity));
    if ((await similarity(own)) > Math.max(...others)) right++;
  }
  expect(right).toBeGreaterThanOrEqual(2);
});
