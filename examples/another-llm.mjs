/**
 * Another language model behind the same Q-Former: OLMo (Groeneveld 2024; HF `OlmoForCausalLM`), which Querent does not come with. It is
 * LLaMA with norms that have nothing to learn.
 *
 *     querent inspect OLMO_FOLDER --plugin ./examples/another-llm.mjs
 *     querent train recipe.json --plugin ./examples/another-llm.mjs
 *
 * with `"language_model": "OLMO_FOLDER"` in a stage-2 recipe: the bridge learns to speak to it (docs/add-an-llm.md). What a family has to
 * give is below: embeddings, the trunk, the head. Soft prompts, the loss, caches and decoding come from `decoderOnly`.
 */
import { defineLanguageModel } from '@querent/core';
import { add, div, embedding, linear, mergeHeads, mul, pow, reduceMean, sigmoid, splitHeads, sub } from '@querent/graph';
import { attend, decoderOnly, rotate, rotation, specialTokens } from '@querent/llm-adapters';

const headWidth = (config) => config.hidden_size / config.num_attention_heads;
const keyHeads = (config) => config.num_key_value_heads ?? config.num_attention_heads;
const plain = { bias: false };

/** HF `OlmoLayerNorm`: no weight and no bias. */
function norm(x) {
  const centred = sub(x, reduceMean(x, [-1]));
  return div(centred, pow(add(reduceMean(mul(centred, centred), [-1]), 1e-5), 0.5));
}

function attention(g, x, layer, rotated, context, config) {
  const project = (name, heads) => splitHeads(linear(g.scope(name), x, heads * headWidth(config), plain), heads); // [batch, heads, tokens, headWidth]
  const [keys, values] = context.memory(layer, rotate(project('k_proj', keyHeads(config)), rotated), project('v_proj', keyHeads(config)));
  const queries = rotate(project('q_proj', config.num_attention_heads), rotated);
  const output = attend(queries, keys, values, { mask: context.mask, scale: headWidth(config) ** -0.5 });
  return linear(g.scope('o_proj'), mergeHeads(output), config.hidden_size, plain);
}

function feedForward(g, x, config) {
  const gate = linear(g.scope('gate_proj'), x, config.intermediate_size, plain);
  const up = linear(g.scope('up_proj'), x, config.intermediate_size, plain);
  return linear(g.scope('down_proj'), mul(mul(gate, sigmoid(gate)), up), config.hidden_size, plain); // SwiGLU
}

function trunk(g, x, context, config) {
  const rotated = rotation(context.positions, headWidth(config), config);
  let hidden = x; // [batch, tokens, hidden]
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const layer = g.scope('model', 'layers', i); // scopes spell the checkpoint: model.layers.0.self_attn.q_proj.weight
    hidden = add(hidden, attention(layer.scope('self_attn'), norm(hidden), i, rotated, context, config));
    hidden = add(hidden, feedForward(layer.scope('mlp'), norm(hidden), config));
  }
  return norm(hidden);
}

const size = { type: 'integer', minimum: 1, maximum: 1_000_000 };
const sizes = ['vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads'];

export default defineLanguageModel(
  decoderOnly({
    name: 'olmo', // the model_type of its config.json
    configSchema: {
      type: 'object',
      required: sizes,
      properties: { ...Object.fromEntries(sizes.map((key) => [key, size])), clip_qkv: { type: 'null', description: 'Clipping is not read.' }, tie_word_embeddings: { const: false } },
    },
    width: (config) => config.hidden_size,
    vocabulary: (config) => config.vocab_size,
    specialTokens,
    layers: (config) => config.num_hidden_layers,
    keyHeads,
    headWidth,
    embed: (g, ids, config) => embedding(g.scope('model', 'embed_tokens'), ids, config.vocab_size, config.hidden_size),
    trunk,
    head: (g, hidden, config) => linear(g.scope('lm_head'), hidden, config.vocab_size, plain),
  }),
);
