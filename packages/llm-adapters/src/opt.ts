/**
 * OPT (Zhang 2022; HF `OPTForCausalLM`): learnt positions counted from the mask with an offset of 2, biases everywhere, a tied head.
 * The 350M model norms after each block and projects its narrow embeddings in and out; the others norm before.
 * Names are the checkpoint's: `model.decoder.layers.0.self_attn.q_proj.weight`. Soft prompts and the loss are in `decoder-only.ts`.
 */
import type { LanguageModelPlugin, Scope, Tensor } from '@querent/core';
import { add, embedding, layerNormalization, linear, linearWith, mergeHeads, splitHeads } from '@querent/graph';
import { ACTIVATIONS, activation } from './activation.ts';
import { attend } from './attention.ts';
import type { DecoderOnlyFamily, TrunkContext } from './decoder-only.ts';
import { decoderOnly } from './decoder-only.ts';
import type { TokenConfig } from './special-tokens.ts';
import { specialTokens, tokenProperties } from './special-tokens.ts';

/** HF `OPTConfig`, as far as it is read. */
export interface OptConfig extends TokenConfig {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly ffn_dim: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly max_position_embeddings: number;
  /** Width of an embedding, if it is not the trunk's. */
  readonly word_embed_proj_dim?: number | null;
  readonly do_layer_norm_before?: boolean;
  readonly _remove_final_layer_norm?: boolean;
  readonly enable_bias?: boolean;
  readonly layer_norm_elementwise_affine?: boolean;
  readonly activation_function?: string;
  readonly tie_word_embeddings?: boolean;
}

export const optConfigSchema: Readonly<Record<string, unknown>> = {
  type: 'object',
  required: ['vocab_size', 'hidden_size', 'ffn_dim', 'num_hidden_layers', 'num_attention_heads', 'max_position_embeddings'],
  properties: {
    vocab_size: { type: 'integer', minimum: 1, description: 'Token ids there are.' },
    hidden_size: { type: 'integer', minimum: 1, description: 'Width of the residual stream.' },
    ffn_dim: { type: 'integer', minimum: 1, description: 'Width inside the feed-forward block.' },
    num_hidden_layers: { type: 'integer', minimum: 1, description: 'Blocks.' },
    num_attention_heads: { type: 'integer', minimum: 1, description: 'Attention heads.' },
    max_position_embeddings: { type: 'integer', minimum: 1, description: 'Longest text; the table has two rows more.' },
    word_embed_proj_dim: { type: ['integer', 'null'], minimum: 1, description: 'Width of an embedding; hidden_size when absent.' },
    do_layer_norm_before: { type: 'boolean', description: 'Norm before each block (default) or after it.' },
    _remove_final_layer_norm: { type: 'boolean', description: 'Leave out the last norm.' },
    enable_bias: { type: 'boolean', description: 'Biases in the projections. Default true.' },
    layer_norm_elementwise_affine: { const: true, description: 'Norms without weights are not read.' },
    activation_function: { enum: ACTIVATIONS, description: 'Default relu.' },
    tie_word_embeddings: { type: 'boolean', description: 'The head is the embedding table. Default true.' },
    ...tokenProperties,
  },
};

/** Rows of the position table before position 0: padding (-1) lands on row 1. */
const POSITION_OFFSET = 2;
const EPSILON = 1e-5;
const EMBEDDING_STD = 0.02;

const embeddingWidth = (config: OptConfig): number => config.word_embed_proj_dim ?? config.hidden_size;

function norm(g: Scope, x: Tensor): Tensor {
  const width = Number(x.shape.at(-1));
  return layerNormalization(x, g.parameter('weight', [width], { initialiser: { kind: 'constant', value: 1 } }), g.parameter('bias', [width]), EPSILON);
}

function attention(g: Scope, x: Tensor, layer: number, context: TrunkContext, config: OptConfig): Tensor {
  const heads = config.num_attention_heads;
  const bias = config.enable_bias ?? true;
  const project = (name: string): Tensor => splitHeads(linear(g.scope(name), x, config.hidden_size, { bias }), heads); // [batch, heads, tokens, headWidth]
  const q = project('q_proj');
  const [keys, values] = context.memory(layer, project('k_proj'), project('v_proj'));
  const mixed = attend(q, keys, values, { mask: context.mask, scale: (config.hidden_size / heads) ** -0.5 });
  return linear(g.scope('out_proj'), mergeHeads(mixed), config.hidden_size, { bias });
}

function feedForward(g: Scope, x: Tensor, config: OptConfig): Tensor {
  const bias = config.enable_bias ?? true;
  const inner = linear(g.scope('fc1'), x, config.ffn_dim, { bias });
  return linear(g.scope('fc2'), activation(config.activation_function ?? 'relu', inner), config.hidden_size, { bias });
}

function trunk(g: Scope, x: Tensor, context: TrunkContext, config: OptConfig): Tensor {
  const decoder = g.scope('model', 'decoder');
  const isBefore = config.do_layer_norm_before ?? true;
  const isNarrow = embeddingWidth(config) !== config.hidden_size;
  const rows = config.max_position_embeddings + POSITION_OFFSET;
  const positions = embedding(decoder.scope('embed_positions'), add(context.positions, POSITION_OFFSET), rows, config.hidden_size);
  let hidden = add(isNarrow ? linear(decoder.scope('project_in'), x, config.hidden_size, { bias: false }) : x, positions); // [batch, tokens, hidden]
  for (let i = 0; i < config.num_hidden_layers; i++) {
    context.trace?.(hidden);
    const layer = decoder.scope('layers', i);
    const attended = attention(layer.scope('self_attn'), isBefore ? norm(layer.scope('self_attn_layer_norm'), hidden) : hidden, i, context, config);
    hidden = add(hidden, attended);
    if (!isBefore) hidden = norm(layer.scope('self_attn_layer_norm'), hidden);
    hidden = add(hidden, feedForward(layer, isBefore ? norm(layer.scope('final_layer_norm'), hidden) : hidden, config));
    if (!isBefore) hidden = norm(layer.scope('final_layer_norm'), hidden);
  }
  if (isBefore && config._remove_final_layer_norm !== true) hidden = norm(decoder.scope('final_layer_norm'), hidden);
  return isNarrow ? linear(decoder.scope('project_out'), hidden, embeddingWidth(config), { bias: false }) : hidden;
}

const embed = (g: Scope, inputIds: Tensor, config: OptConfig): Tensor =>
  embedding(g.scope('model', 'decoder', 'embed_tokens'), inputIds, config.vocab_size, embeddingWidth(config), EMBEDDING_STD);

function head(g: Scope, hidden: Tensor, config: OptConfig): Tensor {
  const owner = (config.tie_word_embeddings ?? true) ? g.scope('model', 'decoder', 'embed_tokens') : g.scope('lm_head');
  const weight = owner.parameter('weight', [config.vocab_size, embeddingWidth(config)], { initialiser: { kind: 'normal', std: EMBEDDING_STD } });
  return linearWith(hidden, weight, null);
}

/** The parts of OPT. */
export const optFamily: DecoderOnlyFamily<OptConfig> = {
  name: 'opt',
  configSchema: optConfigSchema,
  defaults: { vocab_size: 50272, hidden_size: 768, ffn_dim: 3072, num_hidden_layers: 12, num_attention_heads: 12, max_position_embeddings: 2048, pad_token_id: 1, bos_token_id: 2, eos_token_id: 2 },
  width: embeddingWidth,
  vocabulary: (config) => config.vocab_size,
  specialTokens,
  layers: (config) => config.num_hidden_layers,
  keyHeads: (config) => config.num_attention_heads,
  headWidth: (config) => config.hidden_size / config.num_attention_heads,
  embed,
  trunk,
  head,
};

const opt: LanguageModelPlugin<OptConfig> = decoderOnly(optFamily);
export default opt;
