/** `querent verify` over every fixture of the families that are built, and over damaged ones. */
import { cp, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { verify } from 'querent/verify';
import { describe, expect, it } from 'vitest';
import { GOLDENS, querent, temporary } from './command-line.ts';

const FIXTURES = [
  'vision-vit', 'vision-eva', 'vision-clip', 'vision-siglip', 'vision-dinov2', 'vision-dinov2-swiglu', 'clip-full', 'siglip-full', 'preprocess-images', 'qformer-stage1', 'blip2-itm', 'blip2-opt', 'blip2-t5', 'instructblip-llama', 'llm-bert', 'blip-caption', 'blip-itm', 'llm-gpt2', 'llm-gptneox',
  'llm-llama', 'llm-opt', 'llm-opt-350m-style', 'llm-mistral', 'llm-qwen2', 'llm-t5-gated', 'llm-t5-relu-tied', 'optimiser', 'preprocess-blip', 'preprocess-clip',
  'tokenizers/gpt2', 'tokenizers/opt', 'tokenizers/bert-wordpiece', 'tokenizers/t5-unigram', 'tokenizers/llama-bpe',
];

/** What is expected but has no counterpart here. */
const NOT_COMPARED: ReadonlySet<string> = new Set(['offsets', 'pair']);

describe('verify', () => {
  it.each(FIXTURES)('%s is within its tolerances, every expected output compared', async (name) => {
    const report = await verify(join(GOLDENS, name));
    expect(report.outputs.filter(({ isWithin }) => !isWithin)).toEqual([]);
    expect(report.isWithin).toBe(true);
    expect(report.notCompared.map((output) => output.name).filter((output) => !NOT_COMPARED.has(output))).toEqual([]);
  });

  it('does not look at the name of the folder', async () => {
    await using folder = await temporary();
    const other = join(folder.path, 'llm-t5-gated');
    await cp(join(GOLDENS, 'vision-vit'), other, { recursive: true });
    expect((await verify(other)).kind).toBe('encoder vit');
  });

  it('finds a weight that is off', async () => {
    for (const name of ['vision-eva', 'qformer-stage1', 'blip2-opt']) {
      await using folder = await temporary();
      const damaged = join(folder.path, 'fixture');
      await cp(join(GOLDENS, name), damaged, { recursive: true });
      const file = join(damaged, 'model.safetensors');
      const bytes = await readFile(file);
      bytes.writeFloatLE(bytes.readFloatLE(bytes.length - 400) + 0.5, bytes.length - 400);
      await writeFile(file, bytes);
      const report = await verify(damaged);
      expect(report.isWithin, name).toBe(false);
    }
  });

  it('finds an id that is off', async () => {
    await using folder = await temporary();
    const damaged = join(folder.path, 'fixture');
    await cp(join(GOLDENS, 'llm-llama'), damaged, { recursive: true });
    const file = join(damaged, 'expected.json');
    const notes = JSON.parse(await readFile(file, 'utf8')) as { generations: { sequences: number[][] }[] }; // our own fixture
    notes.generations[1]!.sequences[0]![8]! += 1;
    await writeFile(file, JSON.stringify(notes));
    const report = await verify(damaged);
    expect(report.outputs.filter(({ isWithin }) => !isWithin).map(({ name }) => name)).toEqual(['generations/beam3']);
  });

  it('refuses what it does not know, and names what it does', async () => {
    await using folder = await temporary();
    await expect(verify(folder.path)).rejects.toMatchObject({ code: 'QRT_MODEL_UNSUPPORTED' });
    await writeFile(join(folder.path, 'config.json'), JSON.stringify({ model_type: 'no_such_tower' }));
    await expect(verify(folder.path)).rejects.toMatchObject({ code: 'QRT_MODEL_UNSUPPORTED', fix: expect.stringContaining('blip_2_vision_model') });
  });

  it('verifies pictures that stand alone by decoding them, and finds one that is damaged', async () => {
    await using folder = await temporary();
    const pictures = join(folder.path, 'pictures');
    await cp(join(GOLDENS, 'preprocess-images'), pictures, { recursive: true });
    expect((await verify(pictures)).isWithin).toBe(true);
    await writeFile(join(pictures, 'gray.png'), (await readFile(join(pictures, 'gray.png'))).subarray(0, 300));
    await expect(verify(pictures)).rejects.toMatchObject({ code: 'QRT_IMAGE' });
  });
});

describe('querent verify', () => {
  it('exits with 0 and prints JSON when all is well, and with 1 when it is not', async () => {
    await using folder = await temporary();
    const good = await querent(['verify', join(GOLDENS, 'optimiser'), '--json']);
    expect(good.code).toBe(0);
    expect(JSON.parse(good.stdout)).toMatchObject({ kind: 'optimiser', isWithin: true });
    const damaged = join(folder.path, 'fixture');
    await cp(join(GOLDENS, 'vision-vit'), damaged, { recursive: true });
    await rename(join(damaged, 'model.safetensors'), join(damaged, 'x'));
    await cp(join(GOLDENS, 'vision-eva', 'model.safetensors'), join(damaged, 'model.safetensors'));
    const bad = await querent(['verify', damaged]);
    expect(bad.code).toBe(1);
    expect(bad.stderr).toContain('error QRT_CHECKPOINT_MISMATCH');
  });
});
