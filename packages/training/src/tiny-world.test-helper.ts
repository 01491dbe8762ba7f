/**
 * Everything that a recipe reads, in a folder, as small as it goes: eight pictures with captions, a tokenizer for each use, a
 * ViT of width 16 and a LLaMA of width 16 with drawn weights. Written by real components, read by real recipes.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import type { BridgePlugin, EncoderConfig, EncoderPlugin, Engine, LanguageModelPlugin } from '@querent/core';
import { encoderPlugins } from '@querent/encoders';
import { createOnnxEngine } from '@querent/engine-onnx';
import { createGraph } from '@querent/graph';
import { saveModelFolder, trainByteLevelBpe } from '@querent/hub';
import { languageModels } from '@querent/llm-adapters';
import { qformerPlugins } from '@querent/qformer';
import { randomAt } from './data/batches.ts';
import type { TrainingPlugins } from './train-recipe.ts';
import { initialise } from './training-graph.ts';

const COLOURS = { red: [220, 30, 30], green: [30, 190, 40], blue: [30, 50, 220], yellow: [230, 220, 40] } as const;
const PLACES = { left: 0, right: 32 } as const;

/** A picture of 64 × 64 whose left or right half has a colour, with two captions that say so. */
const SCENES = Object.entries(COLOURS).flatMap(([colour, rgb]) =>
  Object.entries(PLACES).map(([place, from]) => ({
    filename: `${colour}-${place}.png`,
    split: 'train',
    sentences: [{ raw: `A ${colour} box stands on the ${place} .` }, { raw: `On the ${place} there is a ${colour} box .` }],
    pixels: png(64, (x) => (x >= from && x < from + 32 ? rgb : [128, 128, 128])),
  })),
);

export const ENCODER_CONFIG = {
  model_type: 'vit', hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 24, hidden_act: 'gelu', layer_norm_eps: 1e-6, image_size: 32, patch_size: 16,
  num_channels: 3, qkv_bias: true,
} as const;

const LANGUAGE_CONFIG = {
  model_type: 'llama', vocab_size: 290, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 2, max_position_embeddings: 64,
  rms_norm_eps: 1e-6, tie_word_embeddings: true, pad_token_id: 0, bos_token_id: 1, eos_token_id: 2,
} as const;

/** Keys that say how to train, for recipes of these tests. */
export const RUN_NUMBERS = {
  seed: 1,
  batch: 4,
  epochs: 4,
  schedule: { type: 'linear_warmup_cosine', peak: 3e-3, minimum: 1e-5, warmupSteps: 2 },
  optimiser: { betas: [0.9, 0.98], epsilon: 1e-8, weightDecay: 0.05 },
  maxGradNorm: 1,
  averageDecay: 0.9,
} as const;

const SOURCE = { images: 'pictures', annotations: { file: 'annotations.json', splits: ['train'] }, maxTokens: 16 } as const;

export const LANGUAGE_MODEL_RECIPE = {
  kind: 'language-model',
  text_config: LANGUAGE_CONFIG,
  tokenizer: 'tokenizers/causal',
  text: { files: [], annotations: SOURCE.annotations },
  keywords: { share: 0.8, keep: [0.5, 1], distractors: 0.1, most: 6 },
  prompt: { text: 'a photo of', share: 0.2 },
  maxTokens: 16,
  ...RUN_NUMBERS,
} as const;

export const STAGE1_RECIPE = {
  kind: 'stage1',
  encoder: 'encoder',
  ...SOURCE,
  views: { count: 2, seed: 7, scale: [0.5, 1] },
  tokenizer: 'tokenizers/retrieval',
  num_query_tokens: 3,
  image_text_hidden_size: 8,
  vision_layer_norm: true,
  qformer_config: {
    model_type: 'blip_2_qformer', vocab_size: 290, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 24, hidden_act: 'gelu', max_position_embeddings: 24,
    layer_norm_eps: 1e-12, cross_attention_frequency: 1, encoder_hidden_size: 16,
  },
  weights: { itc: 1, itm: 1, itg: 1 },
  labelSmoothing: 0.1,
  dropout: 0.1,
  ...RUN_NUMBERS,
} as const;

const { kind: _stage1, tokenizer: _tokenizer, weights: _weights, ...bridgeKeys } = STAGE1_RECIPE;

export const STAGE2_RECIPE = { ...bridgeKeys, kind: 'stage2', language_model: 'language-model', prompt: { text: 'a photo of', share: 0.2 } } as const;

export const FINETUNE_RECIPE = { kind: 'finetune', ...SOURCE, ...RUN_NUMBERS, augment: { scale: [0.9, 1], flip: 0 }, layerDecay: 0.5 } as const;

/** Writes all of it into `folder`, which serves as recipe folder and as data folder. */
export async function createTinyWorld(folder: string): Promise<void> {
  await mkdir(join(folder, 'pictures'), { recursive: true });
  for (const { filename, pixels } of SCENES) await writeFile(join(folder, 'pictures', filename), pixels);
  await writeFile(join(folder, 'annotations.json'), JSON.stringify({ images: SCENES.map(({ filename, split, sentences }) => ({ filename, split, sentences })) }));

  const captions = SCENES.flatMap(({ sentences }) => sentences.map(({ raw }) => raw));
  for (const [name, template] of [['causal', '<s> $A'], ['retrieval', '[CLS] $A [SEP]']] as const) {
    await mkdir(join(folder, 'tokenizers', name), { recursive: true });
    await writeFile(join(folder, 'tokenizers', name, 'tokenizer.json'), JSON.stringify(tokenizerJson(captions, template)));
  }

  const encoder = tinyPlugins.encoder('vit');
  const pixels = createGraph('encoder');
  encoder.build(pixels, pixels.input('pixel_values', 'float32', ['batch', 3, 32, 32]), ENCODER_CONFIG as EncoderConfig);
  await saveModelFolder(join(folder, 'encoder'), { config: ENCODER_CONFIG, parameters: initialise(pixels.graph, [...pixels.graph.parameters.keys()], randomAt(1)) });

  const language = createGraph('language-model');
  const ids = (name: string): ReturnType<typeof language.input> => language.input(name, 'int64', ['batch', name]);
  tinyPlugins.languageModel('llama').loss(language, { promptIds: ids('prompt'), labels: ids('labels') }, LANGUAGE_CONFIG);
  await saveModelFolder(join(folder, 'language-model'), {
    config: LANGUAGE_CONFIG,
    parameters: initialise(language.graph, [...language.graph.parameters.keys()], randomAt(2)),
    tokenizer: join(folder, 'tokenizers', 'causal', 'tokenizer.json'),
  });
}

function tokenizerJson(captions: readonly string[], template: string): object {
  const specialTokens = ['<pad>', '<s>', '</s>', '[CLS]', '[SEP]', '[DEC]'];
  return trainByteLevelBpe(captions, { vocabSize: 290, specialTokens, lowercase: true, keep: 'letters-digits-apostrophe', template });
}

/** The real plugins, by name. */
export const tinyPlugins: TrainingPlugins = {
  encoder: (name) => find<EncoderPlugin>(encoderPlugins, name),
  bridge: (name) => find<BridgePlugin>(qformerPlugins, name),
  languageModel: (name) => find<LanguageModelPlugin>(languageModels, name),
};

function find<Plugin extends { readonly name: string }>(plugins: readonly Plugin[], name: string): Plugin {
  const plugin = plugins.find((one) => one.name === name);
  if (plugin === undefined) throw new Error(`no plugin ${name}`);
  return plugin;
}

/** A square RGB picture as PNG: one filter byte of 0 before each row. */
function png(side: number, colourAt: (x: number, y: number) => readonly number[]): Buffer {
  const rows = Buffer.alloc(side * (1 + side * 3));
  for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) rows.set(colourAt(x, y), y * (1 + side * 3) + 1 + x * 3);
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const framed = Buffer.alloc(body.length + 8);
  framed.writeUInt32BE(data.length, 0);
  framed.set(body, 4);
  framed.writeUInt32BE(crc32(body), body.length + 4);
  return framed;
}

/** The tiny world in a folder of its own, and the engine that trains in it. `close` ends both. */
export async function openTinyWorld(): Promise<{ readonly folder: string; readonly engine: Engine; readonly close: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'querent-world-'));
  const engine = createOnnxEngine({ threads: 1 });
  await createTinyWorld(folder);
  return {
    folder,
    engine,
    close: async () => {
      await engine[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
