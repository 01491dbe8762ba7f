/**
 * BLIP-2's image tower (HF `Blip2VisionModel`): the ViT-g of EVA-CLIP (arXiv 2211.07636), less its last block. Against
 * `vit.ts`: one packed qkv matrix, other names, and the pooled vector is normed twice.
 */
import type { EncoderBuildOptions, EncoderConfig, EncoderOutput, EncoderPlugin, Initialiser, PreprocessorConfig, Scope, Tensor } from '@querent/core';
import {
  DEFAULT_STD, add, concat, conv2d, expand, layerNorm, linear, mergeHeads, reshape, scaledDotProductAttention, slice, split, splitHeads, squeeze,
  transpose,
} from '@querent/graph';
import { activation } from './activation.ts';
import { patchGrid, resizePositions } from './positions.ts';
import { BICUBIC, CLIP_MEAN, CLIP_STD, squash } from './preprocess.ts';
import { TRANSFORMER_PROPERTIES } from './schema.ts';

export interface EvaConfig extends EncoderConfig {
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly intermediate_size: number;
  readonly hidden_act: string;
  readonly layer_norm_eps: number;
  /** Side of the image that the position embeddings are for, in pixels. */
  readonly image_size: number;
  readonly patch_size: number;
  /** Published files hold zeros in the keys' third of the bias. */
  readonly qkv_bias: boolean;
}

const DEFAULTS: EvaConfig = {
  model_type: 'blip_2_vision_model',
  hidden_size: 1408,
  num_hidden_layers: 39,
  num_attention_heads: 16,
  intermediate_size: 6144,
  hidden_act: 'gelu',
  layer_norm_eps: 1e-6,
  image_size: 224,
  patch_size: 14,
  qkv_bias: true,
};

const NORMAL: Initialiser = { kind: 'normal', std: DEFAULT_STD };

/** [CLS] and the patches, with their positions (HF `Blip2VisionEmbeddings`). */
function embeddings(g: Scope, pixelValues: Tensor, config: EvaConfig): Tensor {
  const { hidden_size: hidden, patch_size: patch } = config;
  const grid = patchGrid(pixelValues, patch);
  const side = Math.floor(config.image_size / patch);
  const map = conv2d(g.scope('patch_embedding'), pixelValues, hidden, { kernel: patch, stride: patch }); // [batch, hidden, rows, columns]
  const patches = transpose(reshape(map, [map.shape[0]!, hidden, grid.rows * grid.columns]), [0, 2, 1]); // [batch, patches, hidden]
  const cls = expand(g.parameter('class_embedding', [1, 1, hidden], { initialiser: NORMAL }), [map.shape[0]!, 1, hidden]);
  const positions = g.parameter('position_embedding', [1, side * side + 1, hidden], { initialiser: NORMAL });
  return add(concat([cls, patches], 1), resizePositions(positions, { rows: side, columns: side }, grid)); // [batch, 1 + patches, hidden]
}

/** Multi-head self-attention with packed projections (HF `Blip2Attention`). */
function attention(g: Scope, x: Tensor, config: EvaConfig): Tensor {
  const { hidden_size: hidden, num_attention_heads: heads } = config;
  const packed = linear(g.scope('qkv'), x, 3 * hidden, { bias: config.qkv_bias }); // [batch, tokens, 3 * hidden]
  const [q, k, v] = split(packed, -1, [hidden, hidden, hidden]);
  const { output } = scaledDotProductAttention(splitHeads(q!, heads), splitHeads(k!, heads), splitHeads(v!, heads));
  return linear(g.scope('projection'), mergeHeads(output), hidden);
}

/** HF `Blip2EncoderLayer`. */
function block(g: Scope, x: Tensor, config: EvaConfig): Tensor {
  const attended = add(x, attention(g.scope('self_attn'), layerNorm(g.scope('layer_norm1'), x, config.layer_norm_eps), config));
  const normed = layerNorm(g.scope('layer_norm2'), attended, config.layer_norm_eps);
  const inner = activation(config.hidden_act, linear(g.scope('mlp', 'fc1'), normed, config.intermediate_size));
  return add(attended, linear(g.scope('mlp', 'fc2'), inner, config.hidden_size));
}

/** The whole tower: last hidden state normed; the pooled vector is [CLS]'s, through the same norm again. */
export function eva(g: Scope, pixelValues: Tensor, config: EvaConfig, options: EncoderBuildOptions = {}): EncoderOutput {
  const hiddenStates = [embeddings(g.scope('embeddings'), pixelValues, config)];
  for (let i = 0; i < config.num_hidden_layers; i++) hiddenStates.push(block(g.scope('encoder', 'layers', i), hiddenStates[i]!, config));
  const norm = (x: Tensor): Tensor => layerNorm(g.scope('post_layernorm'), x, config.layer_norm_eps);
  const lastHiddenState = norm(hiddenStates.at(-1)!);
  return {
    lastHiddenState,
    ...(options.pooled === true ? { pooled: norm(squeeze(slice(lastHiddenState, 1, 0, 1), [1])) } : {}),
    ...(options.hiddenStates === true ? { hiddenStates } : {}),
  };
}

/** HF `BlipImageProcessor`: squashed to a square, bicubic; CLIP's mean and deviation. */
function preprocess(config: EvaConfig): PreprocessorConfig {
  return squash(config.image_size, BICUBIC, CLIP_MEAN, CLIP_STD);
}

const plugin: EncoderPlugin<EvaConfig> = {
  kind: 'encoder',
  name: 'blip_2_vision_model',
  contract: 1,
  configSchema: {
    type: 'object',
    description: "BLIP-2's image tower, EVA-CLIP ViT-g.",
    required: ['model_type'],
    properties: { model_type: { const: 'blip_2_vision_model', description: 'Names this encoder.' }, ...TRANSFORMER_PROPERTIES },
  },
  defaults: DEFAULTS,
  preprocess,
  width: (config) => config.hidden_size,
  patches: (config) => Math.floor(config.image_size / config.patch_size) ** 2 + 1,
  build: eva,
  layers: (config) => config.num_hidden_layers + 2,
  layerOf(parameterName, config) {
    if (parameterName.startsWith('embeddings.')) return 0;
    const index = /^encoder\.layers\.(\d+)\./.exec(parameterName)?.[1];
    return index === undefined ? config.num_hidden_layers + 1 : Number(index) + 1;
  },
};
export default plugin;

/** InstructBLIP's config calls the same tower `instructblip_vision_model` (HF `InstructBlipVisionModel`). */
export const instructBlipVision: EncoderPlugin<EvaConfig> = {
  ...plugin,
  name: 'instructblip_vision_model',
  configSchema: {
    ...plugin.configSchema,
    description: "InstructBLIP's image tower, EVA-CLIP ViT-g.",
    properties: { model_type: { const: 'instructblip_vision_model', description: 'Names this encoder.' }, ...TRANSFORMER_PROPERTIES },
  },
  defaults: { ...DEFAULTS, model_type: 'instructblip_vision_model' },
};
