/** `querent inspect` through the real command line. */
import { rename, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createQuerent } from 'querent';
import { inspectModel, type InspectReport } from 'querent/inspect';
import { PUBLISHED_CONFIGS } from '../checkpoints/configs.ts';
import { published, writeHeaders } from '../checkpoints/published.ts';
import { GOLDENS, ROOT, editJson, everything, querent, temporary, tinyModel } from './command-line.ts';

describe('querent inspect', () => {
  it('says what a full-size checkpoint is from its headers, as text and as JSON', async () => {
    await using folder = await temporary();
    const name = 'Salesforce/blip2-opt-2.7b';
    await writeHeaders(folder.path, PUBLISHED_CONFIGS[name] ?? {}, published(name).tensors, 2);
    const before = await everything(folder.path);
    const text = await querent(['inspect', folder.path]);
    expect(text.stderr).toBe('');
    expect(text.code).toBe(0);
    expect(text.stdout).toContain('3,744,761,856 parameters, 107,133,696 trainable');
    expect(text.stdout).toContain('every tensor that the model needs is there');
    const json = await querent(['inspect', folder.path, '--json']);
    const report = JSON.parse(json.stdout) as InspectReport; // our own output
    expect(report.parts.map(({ part, family, parameters }) => [part, family, parameters])).toEqual([
      ['image encoder', 'blip_2_vision_model', 985_952_256],
      ['bridge', 'blip_2_qformer', 105_137_664 + 24_576],
      ['projection', 'linear', 1_968_640],
      ['language model', 'opt', 2_651_678_720],
    ]);
    expect(report.memory.cacheBytesPerToken).toBe(2 * 32 * 2560 * 4);
    expect(await everything(folder.path)).toEqual(before);
  });

  it('lists what does not fit, and exits with 1', async () => {
    await using folder = await temporary();
    const model = await tinyModel(folder.path);
    await editJson(join(model, 'config.json'), (config) => {
      (config['text_config'] as Record<string, unknown>)['num_hidden_layers'] = 3; // our own fixture
    });
    const { code, stdout } = await querent(['inspect', model]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/\d+ missing:\n\s+language_model\.model\.decoder\.layers\.2\./);
    expect(stdout).toMatch(/and \d+ more \(--all\)/);
  });

  it('refuses what is no model with a code', async () => {
    await using folder = await temporary();
    expect(await querent(['inspect', folder.path])).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('error QRT_FILE') });
    expect(await querent(['inspect'])).toMatchObject({ code: 2, stderr: expect.stringContaining('error QRT_USAGE') });
    const model = await tinyModel(folder.path);
    await truncate(join(model, 'model.safetensors'), 5000);
    expect(await querent(['inspect', model])).toMatchObject({ code: 1, stderr: expect.stringContaining('error QRT_CHECKPOINT_FORMAT') });
    await rename(join(model, 'model.safetensors'), join(model, 'pytorch_model.bin'));
    const pickle = await querent(['inspect', model]);
    expect(pickle).toMatchObject({ code: 1, stderr: expect.stringContaining('pickle') });
    expect(pickle.stderr).toContain('safe_serialization=True');
  });
});

describe('inspectModel', () => {
  it('finds nothing amiss in the embedded models, whose frozen parts are elsewhere, in fixtures, and in parts alone', async () => {
    await using own = await createQuerent({ inPlace: true });
    const models = ['querent-mini', 'querent-mini-t5', 'querent-mini-retrieval', 'querent-mini-lm', 'efficientnet-lite0'].map((name) => join(ROOT, 'models', name));
    const fixtures = ['llm-llama', 'llm-t5-gated', 'llm-t5-relu-tied', 'vision-vit', 'vision-eva', 'blip2-t5', 'blip2-itm', 'instructblip-llama'].map((name) => join(GOLDENS, name));
    for (const model of [...models, ...fixtures]) {
      const report = await inspectModel(model, { registry: own.registry });
      expect([model, report.missing, report.unexpected, report.misshaped]).toEqual([model, [], [], []]);
      expect(report.parameters).toBeGreaterThan(1000);
      expect(report.memory.weights.fp32).toBe(4 * report.parameters);
    }
    await expect(inspectModel(join(GOLDENS, 'optimiser'), { registry: own.registry })).rejects.toMatchObject({ code: 'QRT_FILE' });
  });
});
