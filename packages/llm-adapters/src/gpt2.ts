/**
 * GPT-2 (Radford 2019; HF `GPT2LMHeadModel`): learnt positions, norms before each block, packed query-key-value, tanh-GELU, a tied head.
 * Its dense layers are `Conv1D`: weights lie [in, out]. Names are the checkpoint's: `transformer.h.0.attn.c_attn.weight`.
 */
import type { LanguageModelPlugin, Scope, Tensor } from '@querent/core';
import { add, clip, embedding, gemm, layerNorm, linearWith, mergeHeads, reshape, split, splitHeads } from '@querent/graph';
import { ACTIVATIONS, activation } from './activation.ts';
import { attend } from './attention.ts';
import type { DecoderOnlyFamily, TrunkContext } from './decoder-only.ts';
import { decoderOnly } from './decoder-only.ts';
import type { TokenConfig } from './special-tokens.ts';
import { specialTokens, tokenProperties } from './special-tokens.ts';

/** HF `GPT2Config`, as far as it is read. */
export interface Gpt2Config extends TokenConfig {
  readonly vocab_size: number;
  readonly n_embd: number;
  readonly n_head: number;
  readonly n_layer: number;
  readonly n_positions: number;
  readonly n_inner?: number | null;
  readonly activation_function?: string;
  readonly layer_norm_epsilon?: number;
  readonly scale_attn_weights?: boolean;
  readonly scale_attn_by_inverse_layer_idx?: boolean;
  readonly tie_word_embeddings?: boolean;
}

export const gpt2ConfigSchema: Readonly<Record<string, unknown>> = {
  type: 'object',
  required: ['vocab_size', 'n_embd', 'n_head', 'n_layer', 'n_positions'],
  properties: {
    vocab_size: { type: 'integer', minimum: 1, description: 'Token ids there are.' },
    n_embd: { type: 'integer', minimum: 1, description: 'Width of the residual stream.' },
    n_head: { type: 'integer', minimum: 1, description: 'Attention heads.' },
    n_layer: { type: 'integer', minimum: 1, description: 'Blocks.' },
    n_positions: { type: 'integer', minimum: 1, description: 'Longest text.' },
    n_inner: { type: ['integer', 'null'], minimum: 1, description: 'Width inside the feed-forward block; 4 n_embd when absent.' },
    activation_function: { enum: ACTIVATIONS, description: 'Default gelu_new.' },
    layer_norm_epsilon: { type: 'number', minimum: 0, description: 'Added to the variance. Default 1e-5.' },
    scale_attn_weights: { type: 'boolean', description: 'Divide scores by sqrt(head width). Default true.' },
    scale_attn_by_inverse_layer_idx: { type: 'boolean', description: 'Divide scores by the number of the layer too.' },
    tie_word_embeddings: { type: 'boolean', description: 'The head is the embedding table. Default true.' },
    ...tokenProperties,
  },
};

const STD = 0.02;

/** HF `Conv1D`: `x @ weight + bias`, weight [in, out]. */
function dense(g: Scope, x: Tensor, width: number): Tensor {
  const inner = Number(x.shape.at(-1));
  const weight = g.parameter('weight', [inner, width], { initialiser: { kind: 'normal', std: STD } });
  const rows = gemm(reshape(x, [-1, inner]), weight, g.parameter('bias', [width])); // [batch * tokens, width]
  return reshape(rows, [...x.shape.slice(0, -1), width]);
}

function attention(g: Scope, x: Tensor, layer: number, context: TrunkContext, config: Gpt2Config): Tensor {
  const { n_embd: width, n_head: heads } = config;
  const [q, k, v] = split(dense(g.scope('c_attn'), x, 3 * width), 2, [width, width, width]).map((part) => splitHeads(part, heads)) as [Tensor, Tensor, Tensor]; // as many as sizes
  const [keys, values] = context.memory(layer, k, v);
  const scale = (config.scale_attn_weights === false ? 1 : (width / heads) ** -0.5) / (config.scale_attn_by_inverse_layer_idx === true ? layer + 1 : 1);
  return dense(g.scope('c_proj'), mergeHeads(attend(q, keys, values, { mask: context.mask, scale })), width);
}

function feedForward(g: Scope, x: Tensor, config: Gpt2Config): Tensor {
  const inner = dense(g.scope('c_fc'), x, config.n_inner ?? 4 * config.n_embd);
  return dense(g.scope('c_proj'), activation(config.activation_function ?? 'gelu_new', inner), config.n_embd);
}

function trunk(g: Scope, x: Tensor, context: TrunkContext, config: Gpt2Config): Tensor {
  const epsilon = config.layer_norm_epsilon ?? 1e-5;
  const positions = clip(context.positions, 0); // padding takes the first row: nobody sees it
  let hidden = add(x, embedding(g.scope('transformer', 'wpe'), positions, config.n_positions, config.n_embd)); // [batch, tokens, n_embd]
  for (let i = 0; i < config.n_layer; i++) {
    context.trace?.(hidden);
    const layer = g.scope('transformer', 'h', i);
    hidden = add(hidden, attention(layer.scope('attn'), layerNorm(layer.scope('ln_1'), hidden, epsilon), i, context, config));
    hidden = add(hidden, feedForward(layer.scope('mlp'), layerNorm(layer.scope('ln_2'), hidden, epsilon), config));
  }
  return layerNorm(g.scope('transformer', 'ln_f'), hidden, epsilon);
}

const embed = (g: Scope, inputIds: Tensor, config: Gpt2Config): Tensor => embedding(g.scope('transformer', 'wte'), inputIds, config.vocab_size, config.n_embd);

function head(g: Scope, hidden: Tensor, config: Gpt2Config): Tensor {
  const owner = (config.tie_word_embeddings ?? true) ? g.scope('transformer', 'wte') : g.scope('lm_head');
  return linearWith(hidden, owner.parameter('weight', [config.vocab_size, config.n_embd], { initialiser: { kind: 'normal', std: STD } }), null);
}

/** The parts of GPT-2. */
export const gpt2Family: DecoderOnlyFamily<Gpt2Config> = {
  name: 'gpt2',
  configSchema: gpt2ConfigSchema,
  defaults: { vocab_size: 50257, n_positions: 1024, n_embd: 768, n_layer: 12, n_head: 12, bos_token_id: 50256, eos_token_id: 50256 },
  width: (config) => config.n_embd,
  vocabulary: (config) => config.vocab_size,
  specialTokens,
  layers: (config) => config.n_layer,
  keyHeads: (config) => config.n_head,
  headWidth: (config) => config.n_embd / config.n_head,
  embed,
  trunk,
  head,
};

const gpt2: LanguageModelPlugin<Gpt2Config> = decoderOnly(gpt2Family);
export default gpt2;
