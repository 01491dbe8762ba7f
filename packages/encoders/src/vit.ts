/**
 * ViT (arXiv 2010.11929; HF `ViTModel`): an image as a sentence of patches, read by a pre-norm transformer. Copy this file
 * for another encoder of the family. Positions at other sizes: `positions.ts`.
 */
import type { EncoderBuildOptions, EncoderConfig, EncoderOutput, EncoderPlugin, Initialiser, PreprocessorConfig, Scope, Tensor } from '@querent/core';
import {
  DEFAULT_STD, add, concat, conv2d, expand, layerNorm, linear, mergeHeads, reshape, scaledDotProductAttention, slice, splitHeads, squeeze, transpose,
} from '@querent/graph';
import { ACTIVATIONS, activation } from './activation.ts';
import { patchGrid, resizePositions } from './positions.ts';
import { BILINEAR, squash } from './preprocess.ts';
import { TRANSFORMER_PROPERTIES, count } from './schema.ts';

export interface VitConfig extends EncoderConfig {
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly intermediate_size: number;
  readonly hidden_act: string;
  readonly layer_norm_eps: number;
  /** Side of the image that the position embeddings are for, in pixels. */
  readonly image_size: number;
  readonly patch_size: number;
  readonly num_channels: number;
  readonly qkv_bias: boolean;
  /** Width of the pooled vector. Default `hidden_size`. */
  readonly pooler_output_size?: number | null;
  readonly pooler_act: string;
}

const DEFAULTS: VitConfig = {
  model_type: 'vit',
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  hidden_act: 'gelu',
  layer_norm_eps: 1e-12,
  image_size: 224,
  patch_size: 16,
  num_channels: 3,
  qkv_bias: true,
  pooler_act: 'tanh',
};

const NORMAL: Initialiser = { kind: 'normal', std: DEFAULT_STD };

/** [CLS] and the patches, with their positions (HF `ViTEmbeddings`). */
function embeddings(g: Scope, pixelValues: Tensor, config: VitConfig): Tensor {
  const { hidden_size: hidden, patch_size: patch } = config;
  const grid = patchGrid(pixelValues, patch);
  const side = Math.floor(config.image_size / patch);
  const map = conv2d(g.scope('patch_embeddings', 'projection'), pixelValues, hidden, { kernel: patch, stride: patch }); // [batch, hidden, rows, columns]
  const patches = transpose(reshape(map, [map.shape[0]!, hidden, grid.rows * grid.columns]), [0, 2, 1]); // [batch, patches, hidden]
  const cls = expand(g.parameter('cls_token', [1, 1, hidden], { initialiser: NORMAL }), [map.shape[0]!, 1, hidden]);
  const positions = g.parameter('position_embeddings', [1, side * side + 1, hidden], { initialiser: NORMAL });
  return add(concat([cls, patches], 1), resizePositions(positions, { rows: side, columns: side }, grid)); // [batch, 1 + patches, hidden]
}

/** Multi-head self-attention (HF `ViTSelfAttention`, `ViTSelfOutput`). */
function attention(g: Scope, x: Tensor, config: VitConfig): Tensor {
  const project = (name: string): Tensor =>
    splitHeads(linear(g.scope('attention', name), x, config.hidden_size, { bias: config.qkv_bias }), config.num_attention_heads);
  const { output } = scaledDotProductAttention(project('query'), project('key'), project('value'));
  return linear(g.scope('output', 'dense'), mergeHeads(output), config.hidden_size);
}

/** HF `ViTLayer`. */
function block(g: Scope, x: Tensor, config: VitConfig): Tensor {
  const attended = add(x, attention(g.scope('attention'), layerNorm(g.scope('layernorm_before'), x, config.layer_norm_eps), config));
  const normed = layerNorm(g.scope('layernorm_after'), attended, config.layer_norm_eps);
  const inner = activation(config.hidden_act, linear(g.scope('intermediate', 'dense'), normed, config.intermediate_size));
  return add(attended, linear(g.scope('output', 'dense'), inner, config.hidden_size));
}

/** The whole encoder: last hidden state normed; the pooled vector is [CLS]'s through a dense layer and tanh (`pooler_act`). */
export function vit(g: Scope, pixelValues: Tensor, config: VitConfig, options: EncoderBuildOptions = {}): EncoderOutput {
  const hiddenStates = [embeddings(g.scope('embeddings'), pixelValues, config)];
  for (let i = 0; i < config.num_hidden_layers; i++) hiddenStates.push(block(g.scope('encoder', 'layer', i), hiddenStates[i]!, config));
  const lastHiddenState = layerNorm(g.scope('layernorm'), hiddenStates.at(-1)!, config.layer_norm_eps);
  const pool = (): Tensor =>
    activation(config.pooler_act, linear(g.scope('pooler', 'dense'), squeeze(slice(lastHiddenState, 1, 0, 1), [1]), config.pooler_output_size ?? config.hidden_size));
  return {
    lastHiddenState,
    ...(options.pooled === true ? { pooled: pool() } : {}),
    ...(options.hiddenStates === true ? { hiddenStates } : {}),
  };
}

/** HF `ViTImageProcessor`: squashed to a square, pixels to -1 … 1. */
function preprocess(config: VitConfig): PreprocessorConfig {
  return squash(config.image_size, BILINEAR, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]);
}

const POOLER_PROPERTIES = {
  pooler_output_size: { ...count('Width of the pooled vector.'), type: ['integer', 'null'] },
  pooler_act: { enum: ACTIVATIONS, description: 'Activation of the pooled vector.' },
};

const plugin: EncoderPlugin<VitConfig> = {
  kind: 'encoder',
  name: 'vit',
  contract: 1,
  configSchema: {
    type: 'object',
    description: 'ViT.',
    required: ['model_type'],
    properties: { model_type: { const: 'vit', description: 'Names this encoder.' }, ...TRANSFORMER_PROPERTIES, num_channels: count('Channels of the image.'), ...POOLER_PROPERTIES },
  },
  defaults: DEFAULTS,
  preprocess,
  width: (config) => config.hidden_size,
  patches: (config) => Math.floor(config.image_size / config.patch_size) ** 2 + 1,
  build: vit,
  layers: (config) => config.num_hidden_layers + 2,
  layerOf(parameterName, config) {
    if (parameterName.startsWith('embeddings.')) return 0;
    const index = /^encoder\.layer\.(\d+)\./.exec(parameterName)?.[1];
    return index === undefined ? config.num_hidden_layers + 1 : Number(index) + 1;
  },
};
export default plugin;
