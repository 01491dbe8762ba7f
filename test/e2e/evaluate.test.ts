/** `querent evaluate` prints the objects that its callers read. Models are fixtures with random weights: figures mean nothing. */
import { cp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GOLDENS, PHOTOS, editJson, querent, temporary, tinyModel } from './command-line.ts';

const files = ['astronaut.jpg', 'cat.jpg', 'coffee.jpg', 'rocket.jpg'];

async function annotations(folder: string): Promise<string> {
  const file = join(folder, 'annotations.json');
  const images = files.map((filename, i) => ({ filename, split: i < 3 ? 'val' : 'test', sentences: [{ raw: `a photo of ${filename}` }, { raw: 'a small dog' }] }));
  await writeFile(file, JSON.stringify({ images }));
  return file;
}

describe('querent evaluate', () => {
  it('caption: one JSON object with the published names', async () => {
    await using folder = await temporary();
    const model = await tinyModel(folder.path);
    const { code, stdout } = await querent(['evaluate', 'caption', '--model', model, '--images', PHOTOS, '--annotations', await annotations(folder.path), '--split', 'val', '--json']);
    expect(code).toBe(0);
    const figures = JSON.parse(stdout) as Record<string, number>;
    expect(Object.keys(figures)).toEqual(['Bleu_1', 'Bleu_2', 'Bleu_3', 'Bleu_4', 'ROUGE_L', 'CIDEr', 'images', 'imagesPerSecond']);
    expect(figures['images']).toBe(3);
    expect(Object.values(figures).every(Number.isFinite)).toBe(true);
  });

  it('caption: takes other decoding options, and judges shuffled on request', async () => {
    await using folder = await temporary();
    const words = ['evaluate', 'caption', '--model', await tinyModel(folder.path), '--images', PHOTOS, '--annotations', await annotations(folder.path), '--json'];
    const { code, stdout } = await querent([...words, '--beams', '2', '--length-penalty', '-1', '--shuffled']);
    expect(code).toBe(0);
    expect((JSON.parse(stdout) as Record<string, number>)['images']).toBe(4);
    expect((await querent([...words, '--length-penalty', 'long'])).code).toBe(2);
  });

  it('caption: METEOR when asked for, under the name of what was in use', async () => {
    await using folder = await temporary();
    const words = ['evaluate', 'caption', '--model', await tinyModel(folder.path), '--images', PHOTOS, '--annotations', await annotations(folder.path), '--json'];
    const { code, stdout } = await querent([...words, '--metric', 'METEOR']);
    expect(code).toBe(0);
    const { more } = JSON.parse(stdout) as { readonly more: Record<string, Record<string, number>> };
    expect(Object.keys(more)).toEqual(['METEOR']);
    expect(Object.keys(more['METEOR'] ?? {})[0]).toMatch(/^exact\+stem/);
    const missing = await querent([...words, '--meteor', folder.path]);
    expect(missing.code).toBe(1);
    expect(missing.stderr).toContain('meteor-1.5.jar');
    const other = await querent(['evaluate', 'vqa', '--metric', 'METEOR']);
    expect(other.code).toBe(2);
    expect(other.stderr).toContain('--metric');
  });

  it('retrieval: recall by ITC, and re-ranked by ITM', async () => {
    await using folder = await temporary();
    const model = join(folder.path, 'retrieval');
    await cp(join(GOLDENS, 'qformer-stage1'), model, { recursive: true });
    for (const file of ['inputs.safetensors', 'expected.safetensors', 'expected.json']) await rm(join(model, file));
    await cp(join(GOLDENS, 'tokenizers', 'bert-wordpiece', 'tokenizer.json'), join(model, 'tokenizer.json'));
    await editJson(join(model, 'config.json'), (config) => void delete config['text_config']);
    const words = ['evaluate', 'retrieval', '--model', model, '--images', PHOTOS, '--annotations', await annotations(folder.path), '--json'];
    const { code, stdout, stderr } = await querent([...words, '--rerank', '2']);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const figures = JSON.parse(stdout) as Record<string, Record<string, Record<string, number>>>;
    expect(Object.keys(figures)).toEqual(['itc', 'itm']);
    for (const how of Object.values(figures)) {
      expect(Object.keys(how)).toEqual(['i2t', 't2i']);
      for (const recall of Object.values(how)) {
        expect(Object.keys(recall)).toEqual(['r1', 'r5', 'r10']);
        for (const percent of Object.values(recall)) expect(percent >= 0 && percent <= 100).toBe(true);
      }
    }
  });

  it('refuses what is neither, and what is missing', async () => {
    expect((await querent(['evaluate', 'captions'])).code).toBe(2);
    const { code, stderr } = await querent(['evaluate', 'caption', '--images', PHOTOS]);
    expect(code).toBe(2);
    expect(stderr).toContain('--model is missing');
  });
});
