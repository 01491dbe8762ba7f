/**
 * What the four towers of CLIP (arXiv 2103.00020) and SigLIP (arXiv 2303.15343) share: a pre-norm block with separate
 * projections (HF `CLIPEncoderLayer`, `SiglipEncoderLayer`), token embeddings, and the unit vectors that meet.
 */
import type { Initialiser, Scope, Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import {
  DEFAULT_STD, add, div, embedding, layerNorm, linear, mergeHeads, mul, reduceSum, scaledDotProductAttention, slice, splitHeads, sqrt,
} from '@querent/graph';
import { activation } from './activation.ts';

/** The keys of a tower's config that its blocks read. */
export interface BlockConfig {
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly intermediate_size: number;
  readonly hidden_act: string;
  readonly layer_norm_eps: number;
}

/** The keys of a text tower's config that its embeddings read. */
export interface TokenConfig extends BlockConfig {
  readonly vocab_size: number;
  readonly max_position_embeddings: number;
}

const NORMAL: Initialiser = { kind: 'normal', std: DEFAULT_STD };

/** Large enough to drown any score in float32, and finite: a row with nothing to look at stays a number. */
export const HIDDEN = -1e9;

/** Two-layer feed-forward (HF `CLIPMLP`, `SiglipMLP`). */
export function feedForward(g: Scope, x: Tensor, config: BlockConfig): Tensor {
  const inner = activation(config.hidden_act, linear(g.scope('fc1'), x, config.intermediate_size));
  return linear(g.scope('fc2'), inner, config.hidden_size);
}

/** Multi-head self-attention; `mask` is added to the scores. */
function attention(g: Scope, x: Tensor, config: BlockConfig, mask: Tensor | undefined): Tensor {
  const project = (name: string): Tensor => splitHeads(linear(g.scope(name), x, config.hidden_size), config.num_attention_heads);
  const { output } = scaledDotProductAttention(project('q_proj'), project('k_proj'), project('v_proj'), mask === undefined ? {} : { mask });
  return linear(g.scope('out_proj'), mergeHeads(output), config.hidden_size);
}

function block(g: Scope, x: Tensor, config: BlockConfig, mask: Tensor | undefined): Tensor {
  const attended = add(x, attention(g.scope('self_attn'), layerNorm(g.scope('layer_norm1'), x, config.layer_norm_eps), config, mask));
  return add(attended, feedForward(g.scope('mlp'), layerNorm(g.scope('layer_norm2'), attended, config.layer_norm_eps), config));
}

/** All blocks: what enters the first one and what leaves each. */
export function blocks(g: Scope, x: Tensor, config: BlockConfig, mask?: Tensor): readonly Tensor[] {
  const hiddenStates = [x];
  for (let i = 0; i < config.num_hidden_layers; i++) hiddenStates.push(block(g.scope('layers', i), hiddenStates[i]!, config, mask));
  return hiddenStates;
}

/**
 * Tokens with their positions, counted from 0 (HF `CLIPTextEmbeddings`, `SiglipTextEmbeddings`): [texts, tokens, hidden].
 *
 * @throws QuerentError QRT_GRAPH_OP when there are more tokens than positions.
 */
export function tokenEmbeddings(g: Scope, inputIds: Tensor, config: TokenConfig): Tensor {
  const { hidden_size: hidden, max_position_embeddings: positions } = config;
  const tokens = inputIds.shape[1]!;
  if (typeof tokens === 'number' && tokens > positions) {
    throw new QuerentError('QRT_GRAPH_OP', `A text tower was given ${tokens} tokens; it has positions for ${positions}.`, { fix: 'Cut the texts to max_position_embeddings.' });
  }
  const words = embedding(g.scope('token_embedding'), inputIds, config.vocab_size, hidden);
  const table = g.scope('position_embedding').parameter('weight', [positions, hidden], { initialiser: NORMAL });
  return add(words, slice(table, 0, 0, tokens));
}

/** `x / |x|` over the last axis. */
export function unit(x: Tensor): Tensor {
  return div(x, sqrt(add(reduceSum(mul(x, x), [-1]), 1e-24)));
}

/** The layer of a parameter of such a tower, as the encoder contract counts them. */
export function blockLayer(parameterName: string, config: BlockConfig): number {
  if (/^(embeddings|pre_layrnorm)\./.test(parameterName)) return 0;
  const index = /^encoder\.layers\.(\d+)\./.exec(parameterName)?.[1];
  return index === undefined ? config.num_hidden_layers + 1 : Number(index) + 1;
}
