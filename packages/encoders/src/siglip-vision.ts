/**
 * SigLIP's image tower (arXiv 2303.15343; HF `SiglipVisionModel`): a ViT without [CLS]. The pooled vector comes from a
 * learned probe that looks at all patches. The text tower is in `siglip.ts`.
 */
import type { EncoderBuildOptions, EncoderConfig, EncoderOutput, EncoderPlugin, Initialiser, PreprocessorConfig, Scope, Tensor } from '@querent/core';
import {
  DEFAULT_STD, add, conv2d, expand, layerNorm, linear, linearWith, mergeHeads, reshape, scaledDotProductAttention, slice, splitHeads, squeeze,
  transpose, unsqueeze,
} from '@querent/graph';
import type { BlockConfig } from './contrast-layers.ts';
import { blockLayer, blocks, feedForward } from './contrast-layers.ts';
import { patchGrid, resizePositions } from './positions.ts';
import { BICUBIC, squash } from './preprocess.ts';
import { TOWER_PROPERTIES, VISION_PROPERTIES } from './schema.ts';

export interface SiglipVisionConfig extends EncoderConfig, BlockConfig {
  /** Side of the image that the position embeddings are for, in pixels. */
  readonly image_size: number;
  readonly patch_size: number;
  readonly num_channels: number;
  /** Whether there is a pooling head. Without one there is no pooled vector. */
  readonly vision_use_head: boolean;
}

export const SIGLIP_VISION_DEFAULTS: SiglipVisionConfig = {
  model_type: 'siglip_vision_model',
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  hidden_act: 'gelu_pytorch_tanh',
  layer_norm_eps: 1e-6,
  image_size: 224,
  patch_size: 16,
  num_channels: 3,
  vision_use_head: true,
};

const NORMAL: Initialiser = { kind: 'normal', std: DEFAULT_STD };

/** The patches with their positions (HF `SiglipVisionEmbeddings`). */
function embeddings(g: Scope, pixelValues: Tensor, config: SiglipVisionConfig): Tensor {
  const { hidden_size: hidden, patch_size: patch } = config;
  const grid = patchGrid(pixelValues, patch);
  const side = Math.floor(config.image_size / patch);
  const map = conv2d(g.scope('patch_embedding'), pixelValues, hidden, { kernel: patch, stride: patch }); // [batch, hidden, rows, columns]
  const patches = transpose(reshape(map, [map.shape[0]!, hidden, grid.rows * grid.columns]), [0, 2, 1]); // [batch, patches, hidden]
  const table = unsqueeze(g.scope('position_embedding').parameter('weight', [side * side, hidden], { initialiser: NORMAL }), [0]);
  return add(patches, resizePositions(table, { rows: side, columns: side }, grid, { leading: 0 }));
}

/** Attention pooling (HF `SiglipMultiheadAttentionPoolingHead`; its packed weights are torch.nn.MultiheadAttention's). */
function poolingHead(g: Scope, x: Tensor, config: SiglipVisionConfig): Tensor {
  const { hidden_size: hidden, num_attention_heads: heads } = config;
  const packed = g.scope('attention').parameter('in_proj_weight', [3 * hidden, hidden], { initialiser: NORMAL });
  const bias = g.scope('attention').parameter('in_proj_bias', [3 * hidden]);
  const project = (from: Tensor, part: number): Tensor => {
    const rows = (of: Tensor): Tensor => slice(of, 0, part * hidden, (part + 1) * hidden);
    return splitHeads(linearWith(from, rows(packed), rows(bias)), heads); // [batch, heads, tokens, headWidth]
  };
  const probe = expand(g.parameter('probe', [1, 1, hidden], { initialiser: NORMAL }), [x.shape[0]!, 1, hidden]);
  const { output } = scaledDotProductAttention(project(probe, 0), project(x, 1), project(x, 2));
  const attended = linear(g.scope('attention', 'out_proj'), mergeHeads(output), hidden); // [batch, 1, hidden]
  const pooled = add(attended, feedForward(g.scope('mlp'), layerNorm(g.scope('layernorm'), attended, config.layer_norm_eps), config));
  return squeeze(pooled, [1]); // [batch, hidden]
}

/** The whole tower: last hidden state normed; pooled by attention, where the config has that head. */
export function siglipVision(g: Scope, pixelValues: Tensor, config: SiglipVisionConfig, options: EncoderBuildOptions = {}): EncoderOutput {
  const hiddenStates = blocks(g.scope('encoder'), embeddings(g.scope('embeddings'), pixelValues, config), config);
  const lastHiddenState = layerNorm(g.scope('post_layernorm'), hiddenStates.at(-1)!, config.layer_norm_eps);
  return {
    lastHiddenState,
    ...(options.pooled === true && config.vision_use_head ? { pooled: poolingHead(g.scope('head'), lastHiddenState, config) } : {}),
    ...(options.hiddenStates === true ? { hiddenStates } : {}),
  };
}

/** HF `SiglipImageProcessor`: squashed to a square, bicubic, pixels to -1 … 1. */
function preprocess(config: SiglipVisionConfig): PreprocessorConfig {
  return squash(config.image_size, BICUBIC, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]);
}

const plugin: EncoderPlugin<SiglipVisionConfig> = {
  kind: 'encoder',
  name: 'siglip_vision_model',
  contract: 1,
  configSchema: {
    type: 'object',
    description: "SigLIP's image tower.",
    required: ['model_type'],
    properties: {
      model_type: { const: 'siglip_vision_model', description: 'Names this encoder.' },
      ...TOWER_PROPERTIES,
      ...VISION_PROPERTIES,
      vision_use_head: { type: 'boolean', description: 'Whether there is a pooling head.' },
    },
  },
  defaults: SIGLIP_VISION_DEFAULTS,
  preprocess,
  width: (config) => config.hidden_size,
  patches: (config) => Math.floor(config.image_size / config.patch_size) ** 2,
  build: siglipVision,
  layers: (config) => config.num_hidden_layers + 2,
  layerOf: blockLayer,
};
export default plugin;
