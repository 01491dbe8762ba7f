/**
 * GPT-NeoX (Black 2022; HF `GPTNeoXForCausalLM`), also Pythia: rotary positions on a part of each head, attention and feed-forward side by
 * side on one residual (or one after the other), queries, keys and values packed head by head, a head of its own.
 * Names are the checkpoint's: `gpt_neox.layers.0.attention.query_key_value.weight`. Soft prompts and the loss are in `decoder-only.ts`.
 */
import type { LanguageModelPlugin, Scope, Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import { add, embedding, layerNorm, linear, linearWith, mergeHeads, split, splitHeads } from '@querent/graph';
import { ACTIVATIONS, activation } from './activation.ts';
import { attend } from './attention.ts';
import type { DecoderOnlyFamily, TrunkContext } from './decoder-only.ts';
import { decoderOnly } from './decoder-only.ts';
import type { RopeConfig, Rotation } from './rotary.ts';
import { ropeProperties, rotate, rotation } from './rotary.ts';
import type { TokenConfig } from './special-tokens.ts';
import { specialTokens, tokenProperties } from './special-tokens.ts';

/** HF `GPTNeoXConfig`, as far as it is read. */
export interface GptNeoxConfig extends RopeConfig, TokenConfig {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly hidden_act?: string;
  readonly layer_norm_eps?: number;
  /** Share of a head that is rotated, where `rope_parameters` does not say. */
  readonly rotary_pct?: number;
  /** `rope_theta` of files before transformers 5. */
  readonly rotary_emb_base?: number;
  readonly use_parallel_residual?: boolean;
  readonly attention_bias?: boolean;
  readonly tie_word_embeddings?: boolean;
}

const count = (description: string): Readonly<Record<string, unknown>> => ({ type: 'integer', minimum: 1, description });

export const gptNeoxConfigSchema: Readonly<Record<string, unknown>> = {
  type: 'object',
  required: ['vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads'],
  properties: {
    vocab_size: count('Token ids there are.'),
    hidden_size: count('Width of the residual stream.'),
    intermediate_size: count('Width inside the feed-forward block.'),
    num_hidden_layers: count('Blocks.'),
    num_attention_heads: count('Attention heads.'),
    hidden_act: { enum: ACTIVATIONS, description: 'Activation of the feed-forward block. Default gelu.' },
    layer_norm_eps: { type: 'number', minimum: 0, description: 'Added to the variance. Default 1e-5.' },
    rotary_pct: { type: 'number', exclusiveMinimum: 0, maximum: 1, description: 'Share of a head that is rotated. Default 0.25.' },
    rotary_emb_base: { type: 'number', exclusiveMinimum: 0, description: 'Base of the rotary frequencies. Default 10000.' },
    use_parallel_residual: { type: 'boolean', description: 'Attention and feed-forward read the same residual. Default true.' },
    attention_bias: { type: 'boolean', description: 'Biases in the attention projections. Default true.' },
    tie_word_embeddings: { type: 'boolean', description: 'The head is the embedding table. Default false.' },
    ...ropeProperties,
    ...tokenProperties,
  },
};

const EMBEDDING_STD = 0.02;

const headWidth = (config: GptNeoxConfig): number => config.hidden_size / config.num_attention_heads;
const epsilon = (config: GptNeoxConfig): number => config.layer_norm_eps ?? 1e-5;

/** How much of each head turns (HF truncates to whole channels). */
function rotaryWidth(config: GptNeoxConfig): number {
  const share = config.rope_parameters?.partial_rotary_factor ?? config.rotary_pct ?? 0.25;
  const width = Math.trunc(headWidth(config) * share);
  if (width >= 2 && width % 2 === 0 && width <= headWidth(config)) return width;
  throw new QuerentError('QRT_CONFIG_INVALID', `${share} of a head of ${headWidth(config)} channels is ${width}; rotation turns pairs of channels.`, {
    fix: 'Correct rotary_pct, or rope_parameters.partial_rotary_factor.',
  });
}

/** The packed projection lies head by head: q, k and v of head 0, then of head 1, … */
function attention(g: Scope, x: Tensor, layer: number, rotated: Rotation, context: TrunkContext, config: GptNeoxConfig): Tensor {
  const { hidden_size: width, num_attention_heads: heads } = config;
  const bias = config.attention_bias ?? true;
  const packed = splitHeads(linear(g.scope('query_key_value'), x, 3 * width, { bias }), heads); // [batch, heads, tokens, 3 * headWidth]
  const each = headWidth(config);
  const [q, k, v] = split(packed, 3, [each, each, each]) as [Tensor, Tensor, Tensor]; // as many as sizes
  const [keys, values] = context.memory(layer, rotate(k, rotated), v);
  const mixed = attend(rotate(q, rotated), keys, values, { mask: context.mask, scale: each ** -0.5 });
  return linear(g.scope('dense'), mergeHeads(mixed), width, { bias });
}

function feedForward(g: Scope, x: Tensor, config: GptNeoxConfig): Tensor {
  const inner = activation(config.hidden_act ?? 'gelu', linear(g.scope('dense_h_to_4h'), x, config.intermediate_size));
  return linear(g.scope('dense_4h_to_h'), inner, config.hidden_size);
}

function trunk(g: Scope, x: Tensor, context: TrunkContext, config: GptNeoxConfig): Tensor {
  const frequencies: RopeConfig = { ...config, rope_theta: config.rope_theta ?? config.rotary_emb_base ?? 10000 };
  const rotated = rotation(context.positions, rotaryWidth(config), frequencies);
  let hidden = x; // [batch, tokens, hidden]
  for (let i = 0; i < config.num_hidden_layers; i++) {
    context.trace?.(hidden);
    const layer = g.scope('gpt_neox', 'layers', i);
    const attended = add(hidden, attention(layer.scope('attention'), layerNorm(layer.scope('input_layernorm'), hidden, epsilon(config)), i, rotated, context, config));
    // In parallel: x + attention(norm(x)) + mlp(norm'(x)). One after the other: the second norm reads the first sum.
    const read = (config.use_parallel_residual ?? true) ? hidden : attended;
    hidden = add(attended, feedForward(layer.scope('mlp'), layerNorm(layer.scope('post_attention_layernorm'), read, epsilon(config)), config));
  }
  return layerNorm(g.scope('gpt_neox', 'final_layer_norm'), hidden, epsilon(config));
}

const embed = (g: Scope, inputIds: Tensor, config: GptNeoxConfig): Tensor =>
  embedding(g.scope('gpt_neox', 'embed_in'), inputIds, config.vocab_size, config.hidden_size, EMBEDDING_STD);

function head(g: Scope, hidden: Tensor, config: GptNeoxConfig): Tensor {
  const owner = config.tie_word_embeddings === true ? g.scope('gpt_neox', 'embed_in') : g.scope('embed_out');
  const weight = owner.parameter('weight', [config.vocab_size, config.hidden_size], { initialiser: { kind: 'normal', std: EMBEDDING_STD } });
  return linearWith(hidden, weight, null);
}

/** The parts of GPT-NeoX. */
export const gptNeoxFamily: DecoderOnlyFamily<GptNeoxConfig> = {
  name: 'gpt_neox',
  configSchema: gptNeoxConfigSchema,
  defaults: { vocab_size: 50432, hidden_size: 6144, intermediate_size: 24576, num_hidden_layers: 44, num_attention_heads: 64, bos_token_id: 0, eos_token_id: 2 },
  width: (config) => config.hidden_size,
  vocabulary: (config) => config.vocab_size,
  specialTokens,
  layers: (config) => config.num_hidden_layers,
  keyHeads: (config) => config.num_attention_heads,
  headWidth,
  embed,
  trunk,
  head,
};

const gptNeox: LanguageModelPlugin<GptNeoxConfig> = decoderOnly(gptNeoxFamily);
export default gptNeox;
