/** Stage 1 from a BERT: its sizes, its weights and its tokenizer. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ParameterSet, TensorData } from '@querent/core';
import { createOnnxEngine } from '@querent/engine-onnx';
import { loadTensors, loadTokenizer, openModelFolder, saveModelFolder } from '@querent/hub';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { STAGE1_RECIPE, createTinyWorld, tinyPlugins } from '../tiny-world.test-helper.ts';
import { trainRecipe } from '../train-recipe.ts';
import type { Recipe, RecipeEvent } from '../train-recipe.ts';
import { openBert, withDecoderToken } from './bert-start.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-bert-'));
  await createTinyWorld(folder);
  await saveModelFolder(join(folder, 'bert'), { config: BERT, parameters: bert() });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const BERT = { model_type: 'bert', vocab_size: 290, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 24, hidden_act: 'gelu', max_position_embeddings: 24, layer_norm_eps: 1e-12 };

/** A small BERT without a head, as sentence encoders are published. */
function bert(): ParameterSet {
  const tensors = new Map<string, TensorData<'float32'>>();
  const put = (name: string, ...shape: number[]): void => {
    const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 0.7 + tensors.size) * 0.1 + (/LayerNorm\.weight/.test(name) ? 1 : 0));
    tensors.set(name, { dtype: 'float32', shape, data });
  };
  const pair = (name: string, ...shape: number[]): void => {
    put(`${name}.weight`, ...shape);
    put(`${name}.bias`, shape[0]!);
  };
  put('embeddings.word_embeddings.weight', 290, 16);
  put('embeddings.position_embeddings.weight', 24, 16);
  put('embeddings.token_type_embeddings.weight', 2, 16);
  pair('embeddings.LayerNorm', 16);
  for (const i of [0, 1]) {
    const layer = `encoder.layer.${i}`;
    for (const part of ['attention.self.query', 'attention.self.key', 'attention.self.value', 'attention.output.dense']) pair(`${layer}.${part}`, 16, 16);
    for (const part of ['attention.output.LayerNorm', 'output.LayerNorm']) pair(`${layer}.${part}`, 16);
    pair(`${layer}.intermediate.dense`, 24, 16);
    pair(`${layer}.output.dense`, 16, 24);
  }
  return tensors;
}

/** Stage 1 with no sizes of its own: BERT's, and the encoder's width. */
const RECIPE = { ...STAGE1_RECIPE, bert: 'bert', qformer_config: { model_type: 'blip_2_qformer' } };

async function run(recipe: object, out: string): Promise<RecipeEvent[]> {
  const events: RecipeEvent[] = [];
  await using engine = createOnnxEngine({ threads: 1 });
  const options = { recipeFolder: folder, dataFolder: folder, out: join(folder, out), cacheFolder: join(folder, 'cache'), engine, plugins: tinyPlugins };
  for await (const event of trainRecipe(recipe as Recipe, options)) events.push(event);
  return events;
}

describe('a stage-1 recipe with `bert`', () => {
  it("begins as BERT, takes its sizes, and saves a whole folder", async () => {
    const schedule = { type: 'linear_warmup_cosine', peak: 1e-9, minimum: 0, warmupSteps: 1 };
    await run({ ...RECIPE, schedule, epochs: 1, averageDecay: 0, dropout: 0 }, 'out');
    const model = await openModelFolder(join(folder, 'out', 'model'));
    expect(model.config['qformer_config']).toMatchObject({ hidden_size: 16, num_hidden_layers: 2, vocab_size: 291, cross_attention_frequency: 2 });
    const trained = await loadTensors(model.parameters);
    const given = bert();
    for (const [ours, theirs] of [
      ['qformer.encoder.layer.1.intermediate_query.dense.weight', 'encoder.layer.1.intermediate.dense.weight'],
      ['qformer.encoder.layer.0.attention.attention.key.weight', 'encoder.layer.0.attention.self.key.weight'],
      ['qformer.layernorm.weight', 'embeddings.LayerNorm.weight'],
    ] as const) {
      const source = given.get(theirs)!;
      expect('data' in source && source.data.length).toBe(trained.get(ours)!.data.length);
      trained.get(ours)!.data.forEach((value, i) => expect(Number(value)).toBeCloseTo(Number('data' in source ? source.data[i] : NaN), 5));
    }
  });

  it('tells what does not fit before a feature is computed', async () => {
    const wide = { ...RECIPE, qformer_config: { ...RECIPE.qformer_config, hidden_size: 32 } };
    await expect(run(wide, 'wide')).rejects.toMatchObject({ code: 'QRT_CHECKPOINT_MISMATCH', message: expect.stringContaining("hidden_size is 32, BERT's is 16") as string });
  });

  it('refuses a folder of something else', async () => {
    await expect(openBert(join(folder, 'language-model'), RECIPE, { plugins: tinyPlugins })).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringContaining('is a llama') as string });
  });

  it('adds [DEC] to a tokenizer that lacks it, and leaves one that has it as it is', async () => {
    const path = join(folder, 'tokenizers', 'retrieval', 'tokenizer.json');
    expect((await withDecoderToken(path)).document).toBe(path);
    const json = JSON.parse(await readFile(path, 'utf8')) as { added_tokens: { content: string }[]; model: { vocab: Record<string, number> } }; // written by createTinyWorld
    const bare = join(folder, 'bare');
    await mkdir(bare);
    const renamed = JSON.stringify(json).replaceAll('[DEC]', '[unused]');
    await writeFile(join(bare, 'tokenizer.json'), renamed);
    const before = await loadTokenizer(bare);
    const { tokenizer, document } = await withDecoderToken(bare);
    expect(tokenizer.tokenToId('[DEC]')).toBe(before.vocabSize);
    expect(tokenizer.encode('a red box')).toEqual(before.encode('a red box'));
    expect(tokenizer.decode([before.vocabSize], { skipSpecialTokens: true })).toBe('');
    expect(JSON.stringify(document)).toContain('[DEC]');
  });
});
