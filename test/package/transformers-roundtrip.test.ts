/**
 * What Querent trains, Python's transformers opens, and computes the same logits from: a ViT (BLIP-2's tower), a Q-Former and an OPT or a
 * T5, trained a few steps here and saved whole. Runs where `python3` (or `QUERENT_PYTHON`) has torch and transformers.
 */
import { execFile, spawnSync } from 'node:child_process';
import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Graph, TensorData } from '@querent/core';
import { createGraph } from '@querent/graph';
import { openModelFolder, saveModelFolder, trainByteLevelBpe } from '@querent/hub';
import { initialise, randomAt } from '@querent/training';
import { createQuerent } from 'querent';
import { train } from 'querent/train';
import { verify } from 'querent/verify';
import { describe, expect, it } from 'vitest';
import { PHOTOS, temporary } from '../e2e/command-line.ts';

const PYTHON = process.env['QUERENT_PYTHON'] ?? 'python3';
const hasTransformers = spawnSync(PYTHON, ['-c', 'import sys; from importlib.util import find_spec as f; sys.exit(not all(map(f, ("torch", "transformers", "safetensors"))))']).status === 0;
if (!hasTransformers) console.warn(`SKIPPED: ${PYTHON} has no torch and transformers; set QUERENT_PYTHON to one that has, to compare with it.`);

const VOCABULARY = 290;
const VISION = { model_type: 'blip_2_vision_model', hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 24, hidden_act: 'gelu', layer_norm_eps: 1e-6, image_size: 28, patch_size: 14, qkv_bias: true };
const QFORMER = { model_type: 'blip_2_qformer', vocab_size: VOCABULARY, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 24, hidden_act: 'gelu', max_position_embeddings: 24, layer_norm_eps: 1e-12, cross_attention_frequency: 2, encoder_hidden_size: 16 };
const LANGUAGES: Readonly<Record<string, object>> = {
  opt: { model_type: 'opt', vocab_size: VOCABULARY, hidden_size: 24, word_embed_proj_dim: 24, ffn_dim: 32, num_hidden_layers: 2, num_attention_heads: 2, max_position_embeddings: 64, do_layer_norm_before: true, activation_function: 'relu', tie_word_embeddings: true, pad_token_id: 1, bos_token_id: 2, eos_token_id: 2 },
  t5: { model_type: 't5', vocab_size: VOCABULARY, d_model: 24, d_ff: 32, d_kv: 8, num_heads: 2, num_layers: 2, num_decoder_layers: 2, feed_forward_proj: 'gated-gelu', relative_attention_num_buckets: 8, relative_attention_max_distance: 16, tie_word_embeddings: false, is_encoder_decoder: true, pad_token_id: 1, eos_token_id: 2, decoder_start_token_id: 1 },
};
const CAPTIONS = { 'cat.jpg': 'a cat looks at you', 'coffee.jpg': 'a cup of coffee on a table', 'rocket.jpg': 'a rocket stands at night', 'raccoon.jpg': 'a raccoon in the grass' };

function drawn(graph: Graph, seed: number): Map<string, TensorData<'float32'>> {
  const weights = initialise(graph, [...graph.parameters.keys()], randomAt(seed));
  for (const [name, { data }] of weights) if (!/norm/i.test(name)) data.forEach((value, i) => (data[i] = value * 5)); // so that every weight shows
  return weights;
}

describe.skipIf(!hasTransformers)('transformers opens what Querent trained', () => {
  it.each(Object.keys(LANGUAGES))('with %s', async (name) => {
    await using root = await temporary();
    await using querent = await createQuerent({ inPlace: true, threads: 1 });
    const at = (...parts: string[]): string => join(root.path, ...parts);

    const g = createGraph('encoder');
    const encoder = querent.registry.get('encoder', VISION.model_type);
    encoder.build(g, g.input('pixel_values', 'float32', ['batch', 3, 28, 28]), { ...encoder.defaults, ...VISION });
    await saveModelFolder(at('encoder'), { config: VISION, parameters: drawn(g.graph, 1) });

    const config = LANGUAGES[name] ?? {};
    const language = createGraph('language-model');
    const ids = (input: string): ReturnType<typeof language.input> => language.input(input, 'int64', ['batch', input]);
    querent.registry.get('language-model', name).loss(language, { promptIds: ids('prompt'), labels: ids('labels') }, config);
    const tokenizer = trainByteLevelBpe(Object.values(CAPTIONS), { vocabSize: VOCABULARY, specialTokens: ['<unk>', '<pad>', '</s>'], lowercase: true, minFrequency: 1, template: name === 'opt' ? '</s> $A' : '$A </s>' });
    await saveModelFolder(at('language'), { config, parameters: drawn(language.graph, 2), tokenizer });

    await mkdir(at('photos'));
    for (const file of Object.keys(CAPTIONS)) await cp(join(PHOTOS, file), at('photos', file));
    await writeFile(at('annotations.json'), JSON.stringify({ images: Object.entries(CAPTIONS).map(([filename, raw]) => ({ filename, split: 'train', sentences: [{ raw }] })) }));
    await writeFile(at('recipe.json'), JSON.stringify({
      kind: 'stage2', encoder: 'encoder', language_model: 'language', images: 'photos', annotations: { file: 'annotations.json', splits: ['train'] }, maxTokens: 16,
      views: { count: 1, seed: 7, scale: [0.9, 1] }, num_query_tokens: 3, qformer_config: QFORMER, labelSmoothing: 0, dropout: 0, seed: 1, batch: 2, epochs: 3,
      schedule: { type: 'linear_warmup_cosine', peak: 3e-3, minimum: 1e-5, warmupSteps: 1 }, optimiser: { betas: [0.9, 0.98], epsilon: 1e-8, weightDecay: 0.05 }, maxGradNorm: 1,
    }));
    let steps = 0;
    for await (const event of train(querent, at('recipe.json'), { data: root.path, out: at('run'), cache: at('cache') })) if (event.type === 'step') steps++;
    expect(steps).toBeGreaterThan(2);

    const trained = await openModelFolder(at('run', 'model'));
    await saveModelFolder(at('whole'), { config: { ...trained.config, architectures: ['Blip2ForConditionalGeneration'], image_token_index: VOCABULARY - 1 }, parameters: trained.parameters, dtype: 'float32' });
    await promisify(execFile)(PYTHON, [fileURLToPath(new URL('transformers-roundtrip.py', import.meta.url)), at('whole')]);
    const report = await verify(at('whole'));
    expect(report.outputs.map((output) => output.name).sort()).toEqual(['logits', 'loss', 'qformer_last_hidden_state', 'vision_last_hidden_state']);
    expect(report.outputs.filter(({ isWithin }) => !isWithin)).toEqual([]);
    await rm(at('whole'), { recursive: true });
  }, 900_000);
});
