/**
 * SigLIP whole (arXiv 2303.15343, algorithm 1; HF `SiglipModel`): CLIP's two towers, trained pair by pair with a sigmoid, so
 * that the logits have a bias as well as a scale. The text tower looks both ways and at its padding too: texts are always
 * filled up to `max_position_embeddings`, and the last position is what is read. The image tower is in `siglip-vision.ts`.
 */
import type { DualEncoder, DualEncoderConfig, DualEncoderFamily, DualEncoderText, DualEncoderTextOutput, Scope, Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import { add, cast, exp, fusedMatMul, layerNorm, linear, mul, slice, squeeze, sub, unsqueeze } from '@querent/graph';
import type { TokenConfig } from './contrast-layers.ts';
import { HIDDEN, blocks, tokenEmbeddings, unit } from './contrast-layers.ts';
import { TEXT_PROPERTIES, count } from './schema.ts';
import type { SiglipVisionConfig } from './siglip-vision.ts';
import siglipVisionPlugin, { SIGLIP_VISION_DEFAULTS, siglipVision } from './siglip-vision.ts';

export interface SiglipTextConfig extends TokenConfig {
  /** Width of the shared space, which must be the image tower's width. Default `hidden_size`. */
  readonly projection_size?: number | null;
  readonly pad_token_id: number | null;
}

export interface SiglipConfig extends DualEncoderConfig {
  readonly text_config: SiglipTextConfig;
  readonly vision_config: SiglipVisionConfig;
}

const TEXT_DEFAULTS: SiglipTextConfig = {
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  hidden_act: 'gelu_pytorch_tanh',
  layer_norm_eps: 1e-6,
  vocab_size: 32000,
  max_position_embeddings: 64,
  pad_token_id: 1,
};

/** Of the paper: the logarithm of 10, and -10. */
const INITIAL_SCALE = Math.log(10);
const INITIAL_BIAS = -10;

/** 0 at tokens, hidden at padding: [texts, 1, 1, tokens]. */
function paddingMask(attentionMask: Tensor): Tensor {
  return unsqueeze(mul(sub(1, cast(attentionMask, 'float32')), HIDDEN), [1, 2]);
}

/** The text tower (HF `SiglipTextModel`). `g` is the root scope. */
export function siglipText(g: Scope, text: DualEncoderText, config: SiglipConfig): DualEncoderTextOutput {
  const { text_config: tower } = config;
  const root = g.scope('text_model');
  const embedded = tokenEmbeddings(root.scope('embeddings'), text.inputIds, tower);
  const mask = text.attentionMask === undefined ? undefined : paddingMask(text.attentionMask);
  const states = blocks(root.scope('encoder'), embedded, tower, mask).at(-1)!;
  const lastHiddenState = layerNorm(root.scope('final_layer_norm'), states, tower.layer_norm_eps);
  const pooled = squeeze(slice(lastHiddenState, 1, -1, Infinity), [1]);
  return { lastHiddenState, features: unit(linear(root.scope('head'), pooled, sharedWidth(config))) };
}

function sharedWidth({ text_config: tower }: SiglipConfig): number {
  return tower.projection_size ?? tower.hidden_size;
}

/** Both towers, and the scale and bias of their logits. The sigmoid of a logit is the probability of the pair. */
export function siglip(g: Scope, config: SiglipConfig): DualEncoder {
  return {
    imageFeatures(pixelValues) {
      const { pooled } = siglipVision(g.scope('vision_model'), pixelValues, config.vision_config, { pooled: true });
      if (pooled === undefined || config.vision_config.hidden_size !== sharedWidth(config)) {
        throw new QuerentError('QRT_CONFIG_INVALID', `SigLIP's images have ${pooled === undefined ? 'no pooled vector' : `vectors of ${config.vision_config.hidden_size}`}, its texts vectors of ${sharedWidth(config)}.`, {
          fix: "vision_use_head must be true and the image tower's hidden_size the text tower's projection_size.",
        });
      }
      return unit(pooled);
    },
    text: (text) => siglipText(g, text, config),
    logits(imageFeatures, textFeatures) {
      const scale = g.parameter('logit_scale', [1], { initialiser: { kind: 'constant', value: INITIAL_SCALE } });
      const bias = g.parameter('logit_bias', [1], { initialiser: { kind: 'constant', value: INITIAL_BIAS } });
      return add(mul(fusedMatMul(imageFeatures, textFeatures, { transB: true }), exp(scale)), bias); // [images, texts]
    },
  };
}

/** What a SigLIP folder holds. */
export const siglipFamily: DualEncoderFamily<SiglipConfig> = {
  name: 'siglip',
  configSchema: {
    type: 'object',
    description: 'SigLIP: an image and a text tower in one space, trained with a sigmoid.',
    required: ['model_type', 'text_config', 'vision_config'],
    properties: {
      model_type: { const: 'siglip', description: 'Names this family.' },
      text_config: {
        type: 'object',
        description: 'The text tower.',
        properties: { ...TEXT_PROPERTIES, projection_size: { ...count('Width of the shared space.'), type: ['integer', 'null'] } },
      },
      vision_config: { ...siglipVisionPlugin.configSchema, required: [] },
    },
  },
  complete(given) {
    const parts = given as Partial<SiglipConfig>; // the schema has accepted it
    return {
      model_type: 'siglip',
      ...parts,
      text_config: { ...TEXT_DEFAULTS, ...parts.text_config },
      vision_config: { ...SIGLIP_VISION_DEFAULTS, ...parts.vision_config },
    };
  },
  preprocess: (config) => siglipVisionPlugin.preprocess(config.vision_config),
  textRules: ({ text_config: { max_position_embeddings: maxTokens, pad_token_id: pad } }) => ({ maxTokens, padding: 'max-length', padTokenId: pad ?? 0, masksPadding: false }),
  width: sharedWidth,
  build: siglip,
};
