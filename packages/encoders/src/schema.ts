/** The parts that the schemas of the vision configs share. */
import { ACTIVATIONS } from './activation.ts';

type Schema = Readonly<Record<string, unknown>>;

export const count = (description: string): Schema => ({ type: 'integer', minimum: 1, description });

/** A square size as a number; HuggingFace also writes `[height, width]`, which these encoders do not take. */
export const TRANSFORMER_PROPERTIES: Readonly<Record<string, Schema>> = {
  hidden_size: count('Width of the features.'),
  num_hidden_layers: count('Blocks.'),
  num_attention_heads: count('Heads; hidden_size must be a multiple of it.'),
  intermediate_size: count('Inner width of the feed-forward.'),
  hidden_act: { enum: ACTIVATIONS, description: 'Activation of the feed-forward.' },
  layer_norm_eps: { type: 'number', exclusiveMinimum: 0, description: 'Epsilon of the norms.' },
  image_size: count('Side of the image in pixels.'),
  patch_size: count('Side of a patch in pixels.'),
  qkv_bias: { type: 'boolean', description: 'Whether queries, keys and values have a bias.' },
};
