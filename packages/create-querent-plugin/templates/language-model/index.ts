/**
 * NAME: a decoder-only language model with attention and feed-forward side by side. Change it into your family: scopes and parameters
 * spell the checkpoint's tensors. Soft prompts, caches, the loss and decoding come from `decoderOnly`.
 */
import { defineLanguageModel } from '@querent/core';
import type { LanguageModelPlugin, Scope, Tensor } from '@querent/core';
import { add, embedding, gelu, layerNorm, linear, mergeHeads, splitHeads } from '@querent/graph';
import { attend, decoderOnly, rotate, rotation, specialTokens } from '@querent/llm-adapters';
import type { RopeConfig, TokenConfig, TrunkContext } from '@querent/llm-adapters';

/** The keys of `text_config`, as HuggingFace spells them. */
export interface Config extends RopeConfig, TokenConfig {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
}

const EPSILON = 1e-5;
const headWidth = (config: Config): number => config.hidden_size / config.num_attention_heads;

function attention(g: Scope, x: Tensor, layer: number, context: TrunkContext, config: Config): Tensor {
  const project = (name: string): Tensor => splitHeads(linear(g.scope(name), x, config.hidden_size), config.num_attention_heads);
  const rotated = rotation(context.positions, headWidth(config), config);
  const [keys, values] = context.memory(layer, rotate(project('k_proj'), rotated), project('v_proj')); // with those of earlier tokens
  const output = attend(rotate(project('q_proj'), rotated), keys, values, { mask: context.mask, scale: headWidth(config) ** -0.5 });
  return linear(g.scope('dense'), mergeHeads(output), config.hidden_size);
}

function trunk(g: Scope, x: Tensor, context: TrunkContext, config: Config): Tensor {
  let hidden = x; // [batch, tokens, hidden]
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const layer = g.scope('model', 'layers', i);
    const normed = layerNorm(layer.scope('input_layernorm'), hidden, EPSILON);
    const inner = gelu(linear(layer.scope('mlp', 'fc1'), normed, 4 * config.hidden_size));
    const attended = attention(layer.scope('self_attn'), normed, i, context, config);
    hidden = add(hidden, add(attended, linear(layer.scope('mlp', 'fc2'), inner, config.hidden_size)));
  }
  return layerNorm(g.scope('model', 'final_layernorm'), hidden, EPSILON);
}

const size = { type: 'integer', minimum: 1, maximum: 1_000_000 };

const plugin: LanguageModelPlugin<Config> = defineLanguageModel<Config>(
  decoderOnly<Config>({
    name: 'NAME', // the model_type that asks for it
    configSchema: {
      type: 'object',
      required: ['vocab_size', 'hidden_size', 'num_hidden_layers', 'num_attention_heads'],
      properties: {
        vocab_size: { ...size, description: 'Token ids there are.' },
        hidden_size: { ...size, description: 'Width of the residual stream.' },
        num_hidden_layers: { ...size, description: 'Blocks.' },
        num_attention_heads: { ...size, description: 'Heads.' },
      },
    },
    width: (config) => config.hidden_size,
    vocabulary: (config) => config.vocab_size,
    specialTokens,
    layers: (config) => config.num_hidden_layers,
    keyHeads: (config) => config.num_attention_heads,
    headWidth,
    embed: (g, inputIds, config) => embedding(g.scope('model', 'embed_tokens'), inputIds, config.vocab_size, config.hidden_size),
    trunk,
    head: (g, hidden, config) => linear(g.scope('lm_head'), hidden, config.vocab_size),
  }),
);
export default plugin;
