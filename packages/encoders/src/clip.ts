/**
 * CLIP whole (arXiv 2103.00020, figure 3; HF `CLIPModel`): an image tower and a causal text tower meet in one space. A text
 * is what the tower makes of its end token. CapFilt ranks captions with it. The image tower is in `clip-vision.ts`.
 */
import type { DualEncoder, DualEncoderConfig, DualEncoderFamily, DualEncoderText, DualEncoderTextOutput, Scope, Tensor } from '@querent/core';
import {
  and, argMax, cast, equal, exp, fusedMatMul, greater, greaterOrEqual, layerNorm, linear, matMul, mul, range, scalar, squeeze, unsqueeze, where,
} from '@querent/graph';
import type { ClipVisionConfig } from './clip-vision.ts';
import clipVisionPlugin, { CLIP_VISION_DEFAULTS, clipImageEmbeds, clipVision } from './clip-vision.ts';
import type { TokenConfig } from './contrast-layers.ts';
import { HIDDEN, blocks, tokenEmbeddings, unit } from './contrast-layers.ts';
import { TEXT_PROPERTIES, count } from './schema.ts';

export interface ClipTextConfig extends TokenConfig {
  /** Where a text is read off; 2, in OpenAI's files, stands for the largest id of the row. */
  readonly eos_token_id: number;
  readonly pad_token_id: number | null;
}

export interface ClipConfig extends DualEncoderConfig {
  /** Width of the shared space. */
  readonly projection_dim: number;
  /** Logarithm of the logits' scale that a fresh model starts from. */
  readonly logit_scale_init_value: number;
  readonly text_config: ClipTextConfig;
  readonly vision_config: ClipVisionConfig;
}

const TEXT_DEFAULTS: ClipTextConfig = {
  hidden_size: 512,
  num_hidden_layers: 12,
  num_attention_heads: 8,
  intermediate_size: 2048,
  hidden_act: 'quick_gelu',
  layer_norm_eps: 1e-5,
  vocab_size: 49408,
  max_position_embeddings: 77,
  eos_token_id: 49407,
  pad_token_id: 1,
};

/** The wrong end token of OpenAI's published configs; HF then looks for the largest id, which is the end token's. */
const LEGACY_EOS = 2;

/** A token sees itself and what stands before it, padding apart: [texts or 1, 1, tokens, tokens]. */
function causalMask({ inputIds, attentionMask }: DualEncoderText): Tensor {
  const position = range(inputIds, inputIds.shape[1]!);
  const earlier = greaterOrEqual(unsqueeze(position, [1]), unsqueeze(position, [0])); // [tokens, tokens]
  const seen = attentionMask === undefined ? earlier : and(earlier, unsqueeze(greater(attentionMask, 0), [1, 2]));
  const mask = where(seen, scalar(inputIds, 0), HIDDEN);
  return attentionMask === undefined ? unsqueeze(mask, [0, 1]) : mask;
}

/** The row of each text's first end token: [texts, width]. */
function atEnd(states: Tensor, inputIds: Tensor, config: ClipTextConfig): Tensor {
  const isEnd = config.eos_token_id === LEGACY_EOS ? inputIds : equal(inputIds, config.eos_token_id);
  const end = argMax(cast(isEnd, 'float32'), 1, true); // [texts, 1], the first one where several are equal
  const picked = cast(equal(end, unsqueeze(range(inputIds, inputIds.shape[1]!), [0])), 'float32'); // [texts, tokens]
  return squeeze(matMul(unsqueeze(picked, [1]), states), [1]);
}

/** The text tower (HF `CLIPTextModelWithProjection`). `g` is the root scope. */
export function clipText(g: Scope, text: DualEncoderText, config: ClipConfig): DualEncoderTextOutput {
  const { text_config: tower } = config;
  const root = g.scope('text_model');
  const embedded = tokenEmbeddings(root.scope('embeddings'), text.inputIds, tower);
  const states = blocks(root.scope('encoder'), embedded, tower, causalMask(text)).at(-1)!;
  const lastHiddenState = layerNorm(root.scope('final_layer_norm'), states, tower.layer_norm_eps);
  const pooled = atEnd(lastHiddenState, text.inputIds, tower);
  return { lastHiddenState, features: unit(linear(g.scope('text_projection'), pooled, config.projection_dim, { bias: false })) };
}

/** Both towers and what they have learned to scale their cosines by. */
export function clip(g: Scope, config: ClipConfig): DualEncoder {
  return {
    imageFeatures(pixelValues) {
      const { pooled } = clipVision(g.scope('vision_model'), pixelValues, config.vision_config, { pooled: true });
      return unit(clipImageEmbeds(g, pooled!, config.projection_dim));
    },
    text: (text) => clipText(g, text, config),
    logits(imageFeatures, textFeatures) {
      const scale = g.parameter('logit_scale', [], { initialiser: { kind: 'constant', value: config.logit_scale_init_value } });
      return mul(fusedMatMul(imageFeatures, textFeatures, { transB: true }), exp(scale)); // [images, texts]
    },
  };
}

/** What a CLIP folder holds. */
export const clipFamily: DualEncoderFamily<ClipConfig> = {
  name: 'clip',
  configSchema: {
    type: 'object',
    description: 'CLIP: an image and a text tower in one space.',
    required: ['model_type', 'text_config', 'vision_config'],
    properties: {
      model_type: { const: 'clip', description: 'Names this family.' },
      projection_dim: count('Width of the shared space.'),
      logit_scale_init_value: { type: 'number', description: "Logarithm of the logits' scale that a fresh model starts from." },
      text_config: {
        type: 'object',
        description: 'The text tower.',
        properties: { ...TEXT_PROPERTIES, eos_token_id: { type: 'integer', minimum: 0, description: 'Where a text is read off.' } },
      },
      // A part's model_type may be missing: what it is follows from the whole.
      vision_config: { ...clipVisionPlugin.configSchema, required: [] },
    },
  },
  complete(given) {
    const parts = given as Partial<ClipConfig>; // the schema has accepted it
    return {
      model_type: 'clip',
      projection_dim: 512,
      logit_scale_init_value: 2.6592,
      ...parts,
      text_config: { ...TEXT_DEFAULTS, ...parts.text_config },
      vision_config: { ...CLIP_VISION_DEFAULTS, ...parts.vision_config },
    };
  },
  preprocess: (config) => clipVisionPlugin.preprocess(config.vision_config),
  textRules: ({ text_config: { max_position_embeddings: maxTokens, pad_token_id: pad } }) => ({ maxTokens, padding: 'longest', padTokenId: pad ?? 0, masksPadding: true }),
  width: (config) => config.projection_dim,
  build: clip,
};
