/** The parts that the schemas of the encoders' configs share. */
import { ACTIVATIONS } from './activation.ts';

type Schema = Readonly<Record<string, unknown>>;

export const count = (description: string): Schema => ({ type: 'integer', minimum: 1, description });

/** Of any transformer, whatever it reads. */
export const TOWER_PROPERTIES: Readonly<Record<string, Schema>> = {
  hidden_size: count('Width of the features.'),
  num_hidden_layers: count('Blocks.'),
  num_attention_heads: count('Heads; hidden_size must be a multiple of it.'),
  intermediate_size: count('Inner width of the feed-forward.'),
  hidden_act: { enum: ACTIVATIONS, description: 'Activation of the feed-forward.' },
  layer_norm_eps: { type: 'number', exclusiveMinimum: 0, description: 'Epsilon of the norms.' },
};

/** A square size as a number; HuggingFace also writes `[height, width]`, which these encoders do not take. */
export const VISION_PROPERTIES: Readonly<Record<string, Schema>> = {
  image_size: count('Side of the image in pixels.'),
  patch_size: count('Side of a patch in pixels.'),
  num_channels: count('Channels of the image.'),
};

export const TRANSFORMER_PROPERTIES: Readonly<Record<string, Schema>> = {
  ...TOWER_PROPERTIES,
  image_size: VISION_PROPERTIES['image_size']!,
  patch_size: VISION_PROPERTIES['patch_size']!,
  qkv_bias: { type: 'boolean', description: 'Whether queries, keys and values have a bias.' },
};

/** Of a text tower. */
export const TEXT_PROPERTIES: Readonly<Record<string, Schema>> = {
  ...TOWER_PROPERTIES,
  vocab_size: count('How many token ids there are.'),
  max_position_embeddings: count('The most tokens that a text may have.'),
  pad_token_id: { type: ['integer', 'null'], minimum: 0, description: 'Id that fills shorter texts up.' },
};
