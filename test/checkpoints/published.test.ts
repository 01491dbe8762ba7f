/** The published checkpoints at full size: every name and shape, and the parameter counts of BLIP-2's Table 2, from headers alone. */
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createQuerent, type Querent } from 'querent';
import { inspectModel, type InspectReport } from 'querent/inspect';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PUBLISHED_CONFIGS } from './configs.ts';
import { PUBLISHED, published, writeHeaders, type HeaderTensor } from './published.ts';

let root = '';
let querent: Querent;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'querent-published-'));
  querent = await createQuerent({ inPlace: true });
});
afterAll(async () => {
  await querent.dispose();
  await rm(root, { recursive: true, force: true });
});

const inspect = (folder: string): Promise<InspectReport> => inspectModel(folder, { registry: querent.registry });
const configOf = (name: string): object => PUBLISHED_CONFIGS[name] ?? {};

/** What real files may hold beside: duplicates of tied weights, and buffers of older versions. */
function extras(name: string): Map<string, HeaderTensor> {
  const { tied, tensors } = published(name);
  const found = new Map<string, HeaderTensor>();
  for (const one of tied) found.set(one, { dtype: 'float16', shape: [...tensors.values()][0]?.shape ?? [1] });
  const buffers = ['embeddings.position_ids', 'vision_model.embeddings.position_ids'];
  if (tensors.has('language_model.model.layers.0.self_attn.q_proj.weight')) buffers.push('language_model.model.layers.0.self_attn.rotary_emb.inv_freq');
  for (const one of buffers) found.set(one, { dtype: 'float32', shape: [1, 8] });
  return found;
}

describe.each(PUBLISHED)('%s', (name) => {
  it('has exactly the tensors that its config asks for, in shards and with what older files hold beside', async () => {
    const facts = published(name);
    expect(facts.tensors.size).toBe(facts.tensorCount);
    const folder = join(root, name);
    await writeHeaders(folder, configOf(name), new Map([...facts.tensors, ...extras(name)]), 3);
    const report = await inspect(folder);
    expect(report).toMatchObject({ missing: [], misshaped: [], unexpected: [], parameters: facts.parameters, hasWeights: true });
    expect(report.parts.reduce((sum, { tensors }) => sum + tensors, 0)).toBe(facts.tensorCount);
    expect(report.redundant).toHaveLength(extras(name).size);
    expect(report.memory.weights.fp32).toBe(4 * facts.parameters);
    expect(report.memory.weights.int4).toBeLessThanOrEqual(report.memory.weights.int8);
    const onDisk = await stat(join(folder, 'model-00001-of-00003.safetensors'));
    expect(onDisk.blocks * 512).toBeLessThan(1 << 20);
  });

  it('is known to its config alone', async () => {
    const report = await inspect(join(root, name, 'config.json'));
    expect(report).toMatchObject({ parameters: published(name).parameters, hasWeights: false, missing: [] });
  });
});

describe('parameters that BLIP-2 trains (arXiv 2301.12597, Table 2)', () => {
  /** BERT-base's layers with cross-attention in every second one, without text: 12 · (4 · (768² + 768) + 2 · 768 + …). */
  const width = 768;
  const dense = (rows: number, columns: number): number => rows * columns + rows;
  const norm = (size: number): number => 2 * size;
  const selfAttention = 4 * dense(width, width) + norm(width);
  const crossAttention = 2 * dense(width, width) + 2 * dense(width, 1408) + norm(width);
  const feedForward = dense(3072, width) + dense(width, 3072) + norm(width);
  const queryPath = norm(width) + 12 * (selfAttention + feedForward) + 6 * crossAttention;
  const queries = 32 * width;
  const lnVision = norm(1408);

  it.each([
    ['Salesforce/blip2-opt-2.7b', 2560, 107_133_696],
    ['Salesforce/blip2-opt-6.7b', 4096, 108_314_880],
    ['Salesforce/blip2-flan-t5-xl', 2048, 106_739_968],
    ['Salesforce/blip2-flan-t5-xxl', 4096, 108_314_880],
  ])('stage 2, %s', async (name, languageWidth, millions) => {
    expect(queries + queryPath + lnVision + dense(languageWidth, width)).toBe(millions);
    const report = await inspect(join(root, name, 'config.json'));
    expect(report.trainable).toBe(millions);
    expect(report.frozen).toBe(published(name).parameters - millions);
  });

  it('stage 1: with text, both projections, the matching head, the temperature, and ITG’s head tied to the word embeddings', async () => {
    const vocabulary = 30523;
    const text = vocabulary * width + 512 * width + 12 * feedForward;
    const heads = 2 * dense(256, width) + dense(2, width) + 1;
    const writing = dense(width, width) + norm(width) + vocabulary; // the decoder's matrix is the word embedding
    const stage1 = queries + queryPath + lnVision + text + heads + writing;
    expect(stage1).toBe(186_705_470);

    const { tensors } = published('Salesforce/blip2-itm-vit-g');
    const ours: [string, number[]][] = [['temp', []], ['cls.predictions.transform.dense.weight', [width, width]], ['cls.predictions.transform.dense.bias', [width]], ['cls.predictions.transform.LayerNorm.weight', [width]], ['cls.predictions.transform.LayerNorm.bias', [width]], ['cls.predictions.bias', [vocabulary]]];
    const folder = join(root, 'stage1');
    await writeHeaders(folder, configOf('Salesforce/blip2-itm-vit-g'), new Map([...tensors, ...ours.map(([name, shape]) => [name, { dtype: 'float32', shape }] as const)]));
    const report = await inspect(folder);
    expect(report).toMatchObject({ trainable: stage1, missing: [], misshaped: [], unexpected: [] });
  });
});

describe('what does not fit is in the report', () => {
  it('missing, misshaped and unknown tensors, by name', async () => {
    const name = 'Salesforce/blip2-opt-2.7b';
    const tensors = new Map(published(name).tensors);
    tensors.delete('query_tokens');
    tensors.set('language_projection.weight', { dtype: 'bfloat16', shape: [4096, 768] });
    tensors.set('stray.weight', { dtype: 'float32', shape: [2] });
    const folder = join(root, 'damaged');
    await writeHeaders(folder, configOf(name), tensors);
    const report = await inspect(folder);
    expect(report.missing).toEqual(['query_tokens']);
    expect(report.misshaped).toEqual([{ name: 'language_projection.weight', expected: [2560, 768], found: [4096, 768] }]);
    expect(report.unexpected).toEqual(['stray.weight']);
  });
});
