/**
 * LLaMA (Touvron 2023; HF `LlamaForCausalLM`): RMS norms before each block, rotary positions, grouped-query attention, SwiGLU.
 * Names are the checkpoint's: `model.layers.0.self_attn.q_proj.weight`. Soft prompts and the loss are in `decoder-only.ts`.
 */
import type { LanguageModelPlugin, Scope, Tensor } from '@querent/core';
import { add, embedding, linear, linearWith, mergeHeads, mul, rmsNorm, splitHeads } from '@querent/graph';
import { ACTIVATIONS, activation } from './activation.ts';
import { attend } from './attention.ts';
import type { DecoderOnlyFamily, TrunkContext } from './decoder-only.ts';
import { decoderOnly } from './decoder-only.ts';
import type { RopeConfig, Rotation } from './rotary.ts';
import { ropeProperties, rotate, rotation } from './rotary.ts';
import type { TokenConfig } from './special-tokens.ts';
import { specialTokens, tokenProperties } from './special-tokens.ts';

/** HF `LlamaConfig`, as far as it is read. */
export interface LlamaConfig extends RopeConfig, TokenConfig {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads?: number | null;
  readonly head_dim?: number | null;
  readonly hidden_act?: string;
  readonly rms_norm_eps?: number;
  readonly attention_bias?: boolean;
  /** Biases of queries, keys and values alone: what Qwen2 has, and no file says. Default `attention_bias`. */
  readonly qkv_bias?: boolean;
  readonly mlp_bias?: boolean;
  readonly tie_word_embeddings?: boolean;
}

export const llamaConfigSchema: Readonly<Record<string, unknown>> = {
  type: 'object',
  required: ['vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads'],
  properties: {
    vocab_size: { type: 'integer', minimum: 1, description: 'Token ids there are.' },
    hidden_size: { type: 'integer', minimum: 1, description: 'Width of the residual stream.' },
    intermediate_size: { type: 'integer', minimum: 1, description: 'Width inside the feed-forward block.' },
    num_hidden_layers: { type: 'integer', minimum: 1, description: 'Blocks.' },
    num_attention_heads: { type: 'integer', minimum: 1, description: 'Query heads.' },
    num_key_value_heads: { type: ['integer', 'null'], minimum: 1, description: 'Key and value heads; as many as query heads when absent.' },
    head_dim: { type: ['integer', 'null'], minimum: 2, description: 'Width of a head; hidden_size / num_attention_heads when absent.' },
    hidden_act: { enum: ACTIVATIONS, description: 'Gate of the feed-forward block.' },
    rms_norm_eps: { type: 'number', minimum: 0, description: 'Added to the mean square. Default 1e-6.' },
    attention_bias: { type: 'boolean', description: 'Biases in the attention projections.' },
    mlp_bias: { type: 'boolean', description: 'Biases in the feed-forward block.' },
    tie_word_embeddings: { type: 'boolean', description: 'The head is the embedding table.' },
    ...ropeProperties,
    ...tokenProperties,
  },
};

const headWidth = (config: LlamaConfig): number => config.head_dim ?? config.hidden_size / config.num_attention_heads;
const keyHeads = (config: LlamaConfig): number => config.num_key_value_heads ?? config.num_attention_heads;
const epsilon = (config: LlamaConfig): number => config.rms_norm_eps ?? 1e-6;

/** Causal self-attention with rotated queries and keys. */
function attention(g: Scope, x: Tensor, layer: number, rotated: Rotation, context: TrunkContext, config: LlamaConfig): Tensor {
  const width = headWidth(config);
  const outBias = config.attention_bias ?? false;
  const bias = config.qkv_bias ?? outBias;
  const project = (name: string, heads: number): Tensor => splitHeads(linear(g.scope(name), x, heads * width, { bias }), heads);
  const q = rotate(project('q_proj', config.num_attention_heads), rotated); // [batch, heads, tokens, headWidth]
  const k = rotate(project('k_proj', keyHeads(config)), rotated); // [batch, keyHeads, tokens, headWidth]
  const [keys, values] = context.memory(layer, k, project('v_proj', keyHeads(config)));
  const mixed = attend(q, keys, values, { mask: context.mask, scale: 1 / Math.sqrt(width) });
  return linear(g.scope('o_proj'), mergeHeads(mixed), config.hidden_size, { bias: outBias });
}

/** SwiGLU (Shazeer 2020): `down(act(gate(x)) * up(x))`. */
function feedForward(g: Scope, x: Tensor, config: LlamaConfig): Tensor {
  const bias = config.mlp_bias ?? false;
  const gate = activation(config.hidden_act ?? 'silu', linear(g.scope('gate_proj'), x, config.intermediate_size, { bias }));
  const up = linear(g.scope('up_proj'), x, config.intermediate_size, { bias });
  return linear(g.scope('down_proj'), mul(gate, up), config.hidden_size, { bias });
}

function trunk(g: Scope, x: Tensor, context: TrunkContext, config: LlamaConfig): Tensor {
  const rotated = rotation(context.positions, headWidth(config), config);
  let hidden = x; // [batch, tokens, hidden]
  for (let i = 0; i < config.num_hidden_layers; i++) {
    context.trace?.(hidden);
    const layer = g.scope('model', 'layers', i);
    const normed = rmsNorm(layer.scope('input_layernorm'), hidden, epsilon(config));
    hidden = add(hidden, attention(layer.scope('self_attn'), normed, i, rotated, context, config));
    hidden = add(hidden, feedForward(layer.scope('mlp'), rmsNorm(layer.scope('post_attention_layernorm'), hidden, epsilon(config)), config));
  }
  return rmsNorm(g.scope('model', 'norm'), hidden, epsilon(config));
}

const embed = (g: Scope, inputIds: Tensor, config: LlamaConfig): Tensor =>
  embedding(g.scope('model', 'embed_tokens'), inputIds, config.vocab_size, config.hidden_size);

function head(g: Scope, hidden: Tensor, config: LlamaConfig): Tensor {
  const owner = config.tie_word_embeddings === true ? g.scope('model', 'embed_tokens') : g.scope('lm_head');
  return linearWith(hidden, owner.parameter('weight', [config.vocab_size, config.hidden_size], { initialiser: { kind: 'normal', std: 0.02 } }), null);
}

/** The parts of LLaMA, for models that differ from it in little. */
export const llamaFamily: DecoderOnlyFamily<LlamaConfig> = {
  name: 'llama',
  configSchema: llamaConfigSchema,
  defaults: { vocab_size: 32000, hidden_size: 4096, intermediate_size: 11008, num_hidden_layers: 32, num_attention_heads: 32, bos_token_id: 1, eos_token_id: 2 },
  width: (config) => config.hidden_size,
  vocabulary: (config) => config.vocab_size,
  specialTokens,
  layers: (config) => config.num_hidden_layers,
  keyHeads,
  headWidth,
  embed,
  trunk,
  head,
};

const llama: LanguageModelPlugin<LlamaConfig> = decoderOnly(llamaFamily);
export default llama;
