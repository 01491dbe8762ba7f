/**
 * DINOv2 (arXiv 2304.07193; HF `Dinov2Model`): a ViT trained without labels. Against `vit.ts`: each branch of a block is
 * scaled by a learned vector (LayerScale, arXiv 2103.17239) before it is added, and the largest model's feed-forward is a
 * SwiGLU (arXiv 2002.05202). `mask_token`, used in its training only, is not read.
 */
import type { EncoderBuildOptions, EncoderConfig, EncoderOutput, EncoderPlugin, Initialiser, PreprocessorConfig, Scope, Tensor } from '@querent/core';
import {
  DEFAULT_STD, add, concat, conv2d, expand, layerNorm, linear, mergeHeads, mul, reshape, scaledDotProductAttention, slice, split, splitHeads, squeeze,
  transpose,
} from '@querent/graph';
import { activation } from './activation.ts';
import { patchGrid, resizePositions } from './positions.ts';
import { IMAGENET_MEAN, IMAGENET_STD, shortestEdgeCrop } from './preprocess.ts';
import { TRANSFORMER_PROPERTIES, VISION_PROPERTIES } from './schema.ts';

export interface Dinov2Config extends EncoderConfig {
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  /** Inner width of the feed-forward over `hidden_size`. */
  readonly mlp_ratio: number;
  /** Of the plain feed-forward; SwiGLU's gate is always SiLU. */
  readonly hidden_act: string;
  readonly use_swiglu_ffn: boolean;
  readonly layer_norm_eps: number;
  /** What a fresh LayerScale starts from. */
  readonly layerscale_value: number;
  /** Side of the image that the position embeddings are for, in pixels. */
  readonly image_size: number;
  readonly patch_size: number;
  readonly num_channels: number;
  readonly qkv_bias: boolean;
}

const DEFAULTS: Dinov2Config = {
  model_type: 'dinov2',
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  mlp_ratio: 4,
  hidden_act: 'gelu',
  use_swiglu_ffn: false,
  layer_norm_eps: 1e-6,
  layerscale_value: 1,
  image_size: 224,
  patch_size: 14,
  num_channels: 3,
  qkv_bias: true,
};

const NORMAL: Initialiser = { kind: 'normal', std: DEFAULT_STD };

/** [CLS] and the patches, with their positions (HF `Dinov2Embeddings`). */
function embeddings(g: Scope, pixelValues: Tensor, config: Dinov2Config): Tensor {
  const { hidden_size: hidden, patch_size: patch } = config;
  const grid = patchGrid(pixelValues, patch);
  const side = Math.floor(config.image_size / patch);
  const map = conv2d(g.scope('patch_embeddings', 'projection'), pixelValues, hidden, { kernel: patch, stride: patch }); // [batch, hidden, rows, columns]
  const patches = transpose(reshape(map, [map.shape[0]!, hidden, grid.rows * grid.columns]), [0, 2, 1]); // [batch, patches, hidden]
  const cls = expand(g.parameter('cls_token', [1, 1, hidden], { initialiser: NORMAL }), [map.shape[0]!, 1, hidden]);
  const positions = g.parameter('position_embeddings', [1, side * side + 1, hidden], { initialiser: NORMAL });
  return add(concat([cls, patches], 1), resizePositions(positions, { rows: side, columns: side }, grid)); // [batch, 1 + patches, hidden]
}

/** Multi-head self-attention (HF `Dinov2SelfAttention`, `Dinov2SelfOutput`). */
function attention(g: Scope, x: Tensor, config: Dinov2Config): Tensor {
  const project = (name: string): Tensor =>
    splitHeads(linear(g.scope('attention', name), x, config.hidden_size, { bias: config.qkv_bias }), config.num_attention_heads);
  const { output } = scaledDotProductAttention(project('query'), project('key'), project('value'));
  return linear(g.scope('output', 'dense'), mergeHeads(output), config.hidden_size);
}

/** HF `Dinov2LayerScale`. */
function layerScale(g: Scope, x: Tensor, config: Dinov2Config): Tensor {
  return mul(x, g.parameter('lambda1', [config.hidden_size], { initialiser: { kind: 'constant', value: config.layerscale_value } }));
}

/** HF `Dinov2MLP`. */
function feedForward(g: Scope, x: Tensor, config: Dinov2Config): Tensor {
  const inner = activation(config.hidden_act, linear(g.scope('fc1'), x, Math.floor(config.hidden_size * config.mlp_ratio)));
  return linear(g.scope('fc2'), inner, config.hidden_size);
}

/** `(silu(x W₁) ⊙ x W₂) W₃`, W₁ and W₂ packed; two thirds as wide, up to a multiple of 8 (HF `Dinov2SwiGLUFFN`). */
function swiglu(g: Scope, x: Tensor, config: Dinov2Config): Tensor {
  const width = Math.floor((Math.floor((Math.floor(config.hidden_size * config.mlp_ratio) * 2) / 3) + 7) / 8) * 8;
  const [gate, value] = split(linear(g.scope('weights_in'), x, 2 * width), -1, [width, width]);
  return linear(g.scope('weights_out'), mul(activation('silu', gate!), value!), config.hidden_size);
}

/** HF `Dinov2Layer`. */
function block(g: Scope, x: Tensor, config: Dinov2Config): Tensor {
  const attended = attention(g.scope('attention'), layerNorm(g.scope('norm1'), x, config.layer_norm_eps), config);
  const first = add(x, layerScale(g.scope('layer_scale1'), attended, config));
  const forward = config.use_swiglu_ffn ? swiglu : feedForward;
  const inner = forward(g.scope('mlp'), layerNorm(g.scope('norm2'), first, config.layer_norm_eps), config);
  return add(first, layerScale(g.scope('layer_scale2'), inner, config));
}

/** The whole encoder: last hidden state normed; the pooled vector is its [CLS]. */
export function dinov2(g: Scope, pixelValues: Tensor, config: Dinov2Config, options: EncoderBuildOptions = {}): EncoderOutput {
  const hiddenStates = [embeddings(g.scope('embeddings'), pixelValues, config)];
  for (let i = 0; i < config.num_hidden_layers; i++) hiddenStates.push(block(g.scope('encoder', 'layer', i), hiddenStates[i]!, config));
  const lastHiddenState = layerNorm(g.scope('layernorm'), hiddenStates.at(-1)!, config.layer_norm_eps);
  return {
    lastHiddenState,
    ...(options.pooled === true ? { pooled: squeeze(slice(lastHiddenState, 1, 0, 1), [1]) } : {}),
    ...(options.hiddenStates === true ? { hiddenStates } : {}),
  };
}

/** HF `BitImageProcessor` as published with DINOv2: shortest edge 256 for a crop of 224, in proportion for other sizes. */
function preprocess(config: Dinov2Config): PreprocessorConfig {
  return shortestEdgeCrop(Math.round((config.image_size * 256) / 224), config.image_size, IMAGENET_MEAN, IMAGENET_STD);
}

const { intermediate_size: _none, ...PROPERTIES } = TRANSFORMER_PROPERTIES; // DINOv2 has a ratio in its place

const plugin: EncoderPlugin<Dinov2Config> = {
  kind: 'encoder',
  name: 'dinov2',
  contract: 1,
  configSchema: {
    type: 'object',
    description: 'DINOv2.',
    required: ['model_type'],
    properties: {
      model_type: { const: 'dinov2', description: 'Names this encoder.' },
      ...PROPERTIES,
      num_channels: VISION_PROPERTIES['num_channels'],
      mlp_ratio: { type: 'number', exclusiveMinimum: 0, description: 'Inner width of the feed-forward over hidden_size.' },
      use_swiglu_ffn: { type: 'boolean', description: 'Whether the feed-forward is a SwiGLU.' },
      layerscale_value: { type: 'number', description: 'What a fresh LayerScale starts from.' },
    },
  },
  defaults: DEFAULTS,
  preprocess,
  width: (config) => config.hidden_size,
  patches: (config) => Math.floor(config.image_size / config.patch_size) ** 2 + 1,
  build: dinov2,
  layers: (config) => config.num_hidden_layers + 2,
  layerOf(parameterName, config) {
    if (parameterName.startsWith('embeddings.')) return 0;
    const index = /^encoder\.layer\.(\d+)\./.exec(parameterName)?.[1];
    return index === undefined ? config.num_hidden_layers + 1 : Number(index) + 1;
  },
};
export default plugin;
