/** Whole models of a few thousand random weights, written to a folder as people would have them: parts by `from`, fp16 encoder. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32, deflateSync } from 'node:zlib';
import type { Graph, LanguageModelPlugin, TensorData } from '@querent/core';
import { vitPlugin } from '@querent/encoders';
import { createGraph, linear } from '@querent/graph';
import { saveModelFolder, trainByteLevelBpe } from '@querent/hub';
import type { TokenizerJson } from '@querent/hub';
import { decodeGraph, llama, prefillGraph, t5 } from '@querent/llm-adapters';
import { qformerPlugin } from '@querent/qformer';
import { initialise, randomAt } from '@querent/training';

export const GOLDENS: string = fileURLToPath(new URL('../../../test/goldens/v1', import.meta.url));
export const MODELS: string = fileURLToPath(new URL('../../../models', import.meta.url));

const SENTENCES = ['a brown dog is running through the snow', 'two dogs play in the water', 'a man in a red shirt climbs a rock', 'a girl is jumping'];
const QUERIES = 4;

const VISION = { ...vitPlugin.defaults, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16, image_size: 32, patch_size: 16 };
const QFORMER = {
  model_type: 'blip_2_qformer', vocab_size: 320, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 24,
  max_position_embeddings: 16, encoder_hidden_size: 16,
};
const LLAMA = {
  model_type: 'llama', vocab_size: 320, hidden_size: 24, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2, tie_word_embeddings: true,
  max_position_embeddings: 64, bos_token_id: 1, eos_token_id: 2, pad_token_id: 0,
};
const T5 = {
  model_type: 't5', vocab_size: 320, d_model: 24, d_ff: 32, d_kv: 12, num_heads: 2, num_layers: 1, num_decoder_layers: 1, feed_forward_proj: 'gated-gelu',
  tie_word_embeddings: false, decoder_start_token_id: 0, eos_token_id: 2, pad_token_id: 0,
};

export type Family = 'llama' | 't5' | 'retrieval';

type Weights = Map<string, TensorData<'float32'>>;

/** Values for whatever a graph declares: larger than usual, so that different images give different texts. */
function draw(graphs: readonly Graph[], scale = 1): Weights {
  const weights: Weights = new Map();
  for (const graph of graphs) for (const [name, tensor] of initialise(graph, [...graph.parameters.keys()], randomAt(7, 0, 1))) weights.set(name, tensor);
  for (const [name, { data }] of weights) if (!/norm/i.test(name)) data.forEach((value, i) => (data[i] = value * scale));
  return weights;
}

function tokenizer(special: readonly string[], template: string): TokenizerJson {
  return trainByteLevelBpe(SENTENCES, { vocabSize: 320, specialTokens: special, lowercase: true, minFrequency: 1, template });
}

function bridgeWeights(family: Family, width: number): Weights {
  const g = createGraph('bridge');
  const config = { ...qformerPlugin.defaults, ...QFORMER, num_query_tokens: QUERIES, image_text_hidden_size: 8 };
  const bridge = qformerPlugin.build(g, config);
  const features = g.input('features', 'float32', ['batch', 'patches', config.encoder_hidden_size]);
  const { queries } = bridge.encode(features);
  if (family === 'retrieval') {
    const text = { inputIds: g.input('ids', 'int64', ['batch', 'tokens']), attentionMask: g.input('mask', 'int64', ['batch', 'tokens']) };
    bridge.contrast.imageFeatures(queries);
    bridge.contrast.textFeatures(text);
    bridge.contrast.temperature();
    bridge.match(features, text);
  } else linear(g.scope('language_projection'), queries, width);
  return draw([g.graph], 8);
}

function visionWeights(): Weights {
  const g = createGraph('vision');
  vitPlugin.build(g, g.input('pixel_values', 'float32', ['batch', 3, VISION.image_size, VISION.image_size]), VISION);
  return draw([g.graph], 4);
}

/** Writes `<root>/vision`, `<root>/<family>-lm` and `<root>/<family>`; the last is the model. */
export async function writeTinyModel(root: string, family: Family): Promise<string> {
  await mkdir(root, { recursive: true });
  await saveModelFolder(join(root, 'vision'), { config: VISION, parameters: visionWeights(), dtype: 'float16' });
  const path = join(root, family);
  const shared = {
    model_type: 'blip-2',
    num_query_tokens: QUERIES,
    image_text_hidden_size: 8,
    vision_config: { from: '../vision' },
    qformer_config: QFORMER,
  };
  if (family === 'retrieval') {
    await saveModelFolder(path, {
      config: { ...shared, architectures: ['Blip2ForImageTextRetrieval'] },
      parameters: bridgeWeights(family, 0),
      tokenizer: tokenizer(['[PAD]', '[CLS]', '[SEP]', '[DEC]'], '[CLS] $A [SEP]'),
    });
    return path;
  }
  const config = family === 'llama' ? LLAMA : T5;
  const plugin = (family === 'llama' ? llama : t5) as unknown as LanguageModelPlugin; // with the config of its own family
  await saveModelFolder(join(root, `${family}-lm`), {
    config,
    parameters: draw([prefillGraph(plugin, config), decodeGraph(plugin, config)], family === 'llama' ? 8 : 2),
    tokenizer: tokenizer(['<pad>', '<s>', '</s>'], family === 'llama' ? '<s> $A' : '$A </s>'),
    generationConfig: { max_new_tokens: 6, num_beams: 2 },
  });
  await saveModelFolder(path, {
    config: { ...shared, architectures: ['Blip2ForConditionalGeneration'], text_config: { from: `../${family}-lm` } },
    parameters: bridgeWeights(family, 24),
  });
  return path;
}

/** A PNG of 40 × 30 pixels that is all of one colour. */
export function picture(red: number, green: number, blue: number): Buffer {
  const [width, height] = [40, 30];
  const line = Buffer.from([0, ...Array.from({ length: width }, () => [red, green, blue]).flat()]); // filter 0, then the pixels
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8); // 8 bits, RGB
  const chunk = (type: string, data: Uint8Array): Buffer => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const framed = Buffer.alloc(body.length + 8);
    framed.writeUInt32BE(data.length, 0);
    framed.set(body, 4);
    framed.writeUInt32BE(crc32(body), body.length + 4);
    return framed;
  };
  const pixels = deflateSync(Buffer.concat(Array.from({ length: height }, () => line)));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', pixels), chunk('IEND', new Uint8Array())]);
}

/** Writes pictures and files that are none; their paths in this order: good, corrupt, good, empty, text, good. */
export async function writePictures(folder: string): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const png = picture(200, 30, 30);
  const files: readonly (readonly [string, Uint8Array])[] = [
    ['red.png', png],
    ['corrupt.png', png.subarray(0, png.length >> 1)],
    ['green.png', picture(10, 220, 40)],
    ['empty.jpg', new Uint8Array()],
    ['notes.txt', Buffer.from('this is no picture')],
    ['blue.png', picture(0, 0, 255)],
  ];
  for (const [name, bytes] of files) await writeFile(join(folder, name), bytes);
  return files.map(([name]) => join(folder, name));
}
