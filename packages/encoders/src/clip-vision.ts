/**
 * CLIP's image tower (arXiv 2103.00020; HF `CLIPVisionModel`): a ViT whose input is normed too. The features are what
 * leaves the last block, *before* `post_layernorm`: only [CLS] goes through it, for the pooled vector. BLIP-2's ViT-L
 * variant reads one block earlier: set `num_hidden_layers` one lower. The text tower is in `clip.ts`.
 */
import type { EncoderBuildOptions, EncoderConfig, EncoderOutput, EncoderPlugin, Initialiser, PreprocessorConfig, Scope, Tensor } from '@querent/core';
import { DEFAULT_STD, add, concat, conv2d, expand, layerNorm, linear, reshape, slice, squeeze, transpose, unsqueeze } from '@querent/graph';
import type { BlockConfig } from './contrast-layers.ts';
import { blockLayer, blocks } from './contrast-layers.ts';
import { patchGrid, resizePositions } from './positions.ts';
import { CLIP_MEAN, CLIP_STD, shortestEdgeCrop } from './preprocess.ts';
import { TOWER_PROPERTIES, VISION_PROPERTIES, count } from './schema.ts';

export interface ClipVisionConfig extends EncoderConfig, BlockConfig {
  /** Side of the image that the position embeddings are for, in pixels. */
  readonly image_size: number;
  readonly patch_size: number;
  readonly num_channels: number;
  /** Width of the space that images and texts meet in: read by {@link clipImageEmbeds} only. */
  readonly projection_dim: number;
}

export const CLIP_VISION_DEFAULTS: ClipVisionConfig = {
  model_type: 'clip_vision_model',
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  hidden_act: 'quick_gelu',
  layer_norm_eps: 1e-5,
  image_size: 224,
  patch_size: 32,
  num_channels: 3,
  projection_dim: 512,
};

const NORMAL: Initialiser = { kind: 'normal', std: DEFAULT_STD };

/** [CLS] and the patches, with their positions (HF `CLIPVisionEmbeddings`). The patches have no bias. */
function embeddings(g: Scope, pixelValues: Tensor, config: ClipVisionConfig): Tensor {
  const { hidden_size: hidden, patch_size: patch } = config;
  const grid = patchGrid(pixelValues, patch);
  const side = Math.floor(config.image_size / patch);
  const map = conv2d(g.scope('patch_embedding'), pixelValues, hidden, { kernel: patch, stride: patch, bias: false }); // [batch, hidden, rows, columns]
  const patches = transpose(reshape(map, [map.shape[0]!, hidden, grid.rows * grid.columns]), [0, 2, 1]); // [batch, patches, hidden]
  const cls = expand(g.parameter('class_embedding', [hidden], { initialiser: NORMAL }), [map.shape[0]!, 1, hidden]);
  const table = unsqueeze(g.scope('position_embedding').parameter('weight', [side * side + 1, hidden], { initialiser: NORMAL }), [0]);
  return add(concat([cls, patches], 1), resizePositions(table, { rows: side, columns: side }, grid)); // [batch, 1 + patches, hidden]
}

/** The whole tower; the pooled vector is [CLS]'s, normed, not yet projected. */
export function clipVision(g: Scope, pixelValues: Tensor, config: ClipVisionConfig, options: EncoderBuildOptions = {}): EncoderOutput {
  const embedded = layerNorm(g.scope('pre_layrnorm'), embeddings(g.scope('embeddings'), pixelValues, config), config.layer_norm_eps); // HF's spelling
  const hiddenStates = blocks(g.scope('encoder'), embedded, config);
  const lastHiddenState = hiddenStates.at(-1)!;
  const pool = (): Tensor => layerNorm(g.scope('post_layernorm'), squeeze(slice(lastHiddenState, 1, 0, 1), [1]), config.layer_norm_eps);
  return {
    lastHiddenState,
    ...(options.pooled === true ? { pooled: pool() } : {}),
    ...(options.hiddenStates === true ? { hiddenStates } : {}),
  };
}

/**
 * The pooled vector in the space that images and texts share (HF `CLIPVisionModelWithProjection`'s `image_embeds`):
 * float32 [batch, projection_dim], not yet of length 1.
 *
 * @param g the root scope: the projection stands beside the tower, not in it.
 * @param pooled {@link clipVision}'s.
 */
export function clipImageEmbeds(g: Scope, pooled: Tensor, projectionDim: number): Tensor {
  return linear(g.scope('visual_projection'), pooled, projectionDim, { bias: false });
}

/** HF `CLIPImageProcessor`: shortest edge, bicubic, then the middle. */
function preprocess(config: ClipVisionConfig): PreprocessorConfig {
  return shortestEdgeCrop(config.image_size, config.image_size, CLIP_MEAN, CLIP_STD);
}

const plugin: EncoderPlugin<ClipVisionConfig> = {
  kind: 'encoder',
  name: 'clip_vision_model',
  contract: 1,
  configSchema: {
    type: 'object',
    description: "CLIP's image tower.",
    required: ['model_type'],
    properties: {
      model_type: { const: 'clip_vision_model', description: 'Names this encoder.' },
      ...TOWER_PROPERTIES,
      ...VISION_PROPERTIES,
      projection_dim: count('Width of the space that images and texts meet in.'),
    },
  },
  defaults: CLIP_VISION_DEFAULTS,
  preprocess,
  width: (config) => config.hidden_size,
  patches: (config) => Math.floor(config.image_size / config.patch_size) ** 2 + 1,
  build: clipVision,
  layers: (config) => config.num_hidden_layers + 2,
  layerOf: blockLayer,
};
export default plugin;
