/**
 * The Q-Former's config: HuggingFace's `Blip2QFormerConfig` and the keys of `Blip2Config` that belong to the bridge.
 * Read `qformer.ts` next.
 */
import type { BridgeConfig } from '@querent/core';

export interface QFormerConfig extends BridgeConfig {
  readonly model_type: string;
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly intermediate_size: number;
  /** `gelu`, `gelu_new`, `gelu_pytorch_tanh`, `quick_gelu` or `relu`. */
  readonly hidden_act: string;
  readonly max_position_embeddings: number;
  readonly layer_norm_eps: number;
  /**
   * Deviation that fresh weights are drawn with. BERT's 0.02 suits its width of 768; a bridge a third as wide learns faster
   * from about 1 / √width.
   */
  readonly initializer_range: number;
  /** Every n-th layer, from layer 0 on, lets the queries look at the image. */
  readonly cross_attention_frequency: number;
  /** Width of the image's features. */
  readonly encoder_hidden_size: number;
  readonly num_query_tokens: number;
  /** Width of the space in which image and text are compared. */
  readonly image_text_hidden_size: number;
  /**
   * A trainable LayerNorm over the image's features before anything looks at them, `ln_vision.*` (LAVIS's name): for
   * encoders whose last layer is not normed. HuggingFace's encoders bring their own.
   */
  readonly vision_layer_norm: boolean;
  /** Does it read the text that the language model is asked, when it reads an image for it? InstructBLIP's always does. */
  readonly use_qformer_text_input: boolean;
}

/** BERT-base with 32 queries: what HuggingFace takes where a config is silent. */
export const QFORMER_DEFAULTS: QFormerConfig = {
  model_type: 'blip_2_qformer',
  vocab_size: 30522,
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  hidden_act: 'gelu',
  max_position_embeddings: 512,
  layer_norm_eps: 1e-12,
  initializer_range: 0.02,
  cross_attention_frequency: 2,
  encoder_hidden_size: 1408,
  num_query_tokens: 32,
  image_text_hidden_size: 256,
  vision_layer_norm: false,
  use_qformer_text_input: false,
};

/** InstructBLIP's: the same sizes, and the instruction is read (HF `InstructBlipQFormerConfig`). */
export const INSTRUCT_QFORMER_DEFAULTS: QFormerConfig = { ...QFORMER_DEFAULTS, model_type: 'instructblip_qformer', use_qformer_text_input: true };

/** Keys that HuggingFace keeps at the top of `config.json`, beside `qformer_config`. */
export const QFORMER_TOP_LEVEL_KEYS: readonly string[] = ['num_query_tokens', 'image_text_hidden_size', 'vision_layer_norm'];

const count = (description: string): Readonly<Record<string, unknown>> => ({ type: 'integer', minimum: 1, description });

const properties: Readonly<Record<string, unknown>> = {
  vocab_size: count('Rows of the word embeddings; [DEC] is one of them where the bridge writes text.'),
  hidden_size: count('Width of queries and text.'),
  num_hidden_layers: count('Layers.'),
  num_attention_heads: count('Heads; hidden_size must be a multiple of it.'),
  intermediate_size: count('Inner width of both feed-forwards.'),
  hidden_act: { enum: ['gelu', 'gelu_new', 'gelu_pytorch_tanh', 'quick_gelu', 'relu'], description: 'Activation of the feed-forwards and the LM head.' },
  max_position_embeddings: count('Longest text.'),
  layer_norm_eps: { type: 'number', exclusiveMinimum: 0, description: 'Epsilon of the norms.' },
  initializer_range: { type: 'number', exclusiveMinimum: 0, description: 'Deviation that fresh weights are drawn with.' },
  cross_attention_frequency: count('Every n-th layer looks at the image.'),
  encoder_hidden_size: count("Width of the image's features."),
  num_query_tokens: count('Learned queries.'),
  image_text_hidden_size: count('Width of the space in which image and text are compared.'),
  vision_layer_norm: { type: 'boolean', description: "A trainable norm `ln_vision` over the image's features." },
  use_qformer_text_input: { type: 'boolean', description: 'Is the text read that the language model is asked?' },
};

const schemaOf = (modelType: string, description: string): Readonly<Record<string, unknown>> => ({
  type: 'object',
  description,
  required: ['model_type'],
  properties: { model_type: { const: modelType, description: 'Names this bridge.' }, ...properties },
});

export const qformerConfigSchema: Readonly<Record<string, unknown>> = schemaOf('blip_2_qformer', 'The Q-Former of BLIP-2.');
export const instructQformerConfigSchema: Readonly<Record<string, unknown>> = schemaOf('instructblip_qformer', 'The Q-Former of InstructBLIP.');
