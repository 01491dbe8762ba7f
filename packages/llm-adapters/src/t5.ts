/**
 * T5 (Raffel 2020; HF `T5ForConditionalGeneration`): RMS norms, no biases, no 1/sqrt(d) in attention, and relative positions as a learnt
 * bias that sits in block 0 and serves all. v1.0: relu, head tied and scaled; v1.1 and Flan: gated tanh-GELU and a head of its own.
 * Soft prompts and the loss are in `encoder-decoder.ts`.
 */
import type { LanguageModelPlugin, Scope, Tensor } from '@querent/core';
import { int64 } from '@querent/core';
import { abs, add, cast, clip, constant, embedding, gather, greater, linear, linearWith, mergeHeads, mul, neg, range, rmsNorm, splitHeads, sub, transpose, unsqueeze } from '@querent/graph';
import { ACTIVATIONS, activation } from './activation.ts';
import { attend, paddingMask } from './attention.ts';
import type { DecoderContext, EncoderDecoderFamily } from './encoder-decoder.ts';
import { encoderDecoder } from './encoder-decoder.ts';
import type { TokenConfig } from './special-tokens.ts';
import { specialTokens, tokenProperties } from './special-tokens.ts';

/** HF `T5Config`, as far as it is read. */
export interface T5Config extends TokenConfig {
  readonly vocab_size: number;
  readonly d_model: number;
  readonly d_kv: number;
  readonly d_ff: number;
  readonly num_layers: number;
  readonly num_decoder_layers?: number | null;
  readonly num_heads: number;
  readonly relative_attention_num_buckets?: number;
  readonly relative_attention_max_distance?: number;
  readonly layer_norm_epsilon?: number;
  /** `relu`, `gated-gelu`, …; `gated-gelu` means the tanh form unless `dense_act_fn` says otherwise. */
  readonly feed_forward_proj?: string;
  readonly dense_act_fn?: string;
  readonly tie_word_embeddings?: boolean;
  readonly scale_decoder_outputs?: boolean;
  /** Deviation of all fresh weights; T5's own, by fan-in, when absent. */
  readonly initializer_range?: number;
}

const count = (description: string): Readonly<Record<string, unknown>> => ({ type: 'integer', minimum: 1, description });

export const t5ConfigSchema: Readonly<Record<string, unknown>> = {
  type: 'object',
  required: ['vocab_size', 'd_model', 'd_kv', 'd_ff', 'num_layers', 'num_heads'],
  properties: {
    vocab_size: count('Token ids there are.'),
    d_model: count('Width of the residual stream.'),
    d_kv: count('Width of a head; heads need not add up to d_model.'),
    d_ff: count('Width inside the feed-forward block.'),
    num_layers: count('Encoder blocks.'),
    num_decoder_layers: { type: ['integer', 'null'], minimum: 1, description: 'Decoder blocks; num_layers when absent.' },
    num_heads: count('Attention heads.'),
    relative_attention_num_buckets: { type: 'integer', minimum: 4, description: 'Buckets of relative distance. Default 32.' },
    relative_attention_max_distance: { type: 'integer', minimum: 2, maximum: 1_000_000, description: 'From here on all distances share a bucket. Default 128.' },
    layer_norm_epsilon: { type: 'number', minimum: 0, description: 'Added to the mean square. Default 1e-6.' },
    feed_forward_proj: { type: 'string', pattern: '^(gated-)?(relu|gelu|gelu_new|silu)$', description: 'Activation, gated or not. Default relu.' },
    dense_act_fn: { enum: ACTIVATIONS, description: 'Overrides the activation of feed_forward_proj.' },
    initializer_range: { type: 'number', exclusiveMinimum: 0, description: 'Deviation of all fresh weights; by fan-in when absent.' },
    tie_word_embeddings: { type: 'boolean', description: 'The head is the embedding table. Default true.' },
    scale_decoder_outputs: { type: 'boolean', description: 'Divide the decoder output by sqrt(d_model). Default: when tied.' },
    ...tokenProperties,
  },
};

const epsilon = (config: T5Config): number => config.layer_norm_epsilon ?? 1e-6;
const decoderLayers = (config: T5Config): number => config.num_decoder_layers ?? config.num_layers;
const isTied = (config: T5Config): boolean => config.tie_word_embeddings ?? true;

/**
 * The deviation of fresh weights: T5's own by fan-in, which suits Adafactor's relative steps, or one for all where the config
 * says `initializer_range`: AdamW's steps are of one size, and embeddings of deviation 1 hardly move under them.
 */
const deviation = (config: T5Config, own: number): number => config.initializer_range ?? own;

/** Dense without bias. */
const dense = (g: Scope, x: Tensor, width: number, config: T5Config, std: number): Tensor => linear(g, x, width, { bias: false, std: deviation(config, std) });

/** One of a head's projections, [batch, heads, tokens, d_kv]. */
function project(g: Scope, name: 'q' | 'k' | 'v', x: Tensor, config: T5Config): Tensor {
  const std = name === 'q' ? (config.d_model * config.d_kv) ** -0.5 : config.d_model ** -0.5;
  return splitHeads(dense(g.scope(name), x, config.num_heads * config.d_kv, config, std), config.num_heads);
}

/** Mixes values and projects back: the scores are not divided by sqrt(d_kv). */
function mix(g: Scope, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, config: T5Config): Tensor {
  return dense(g.scope('o'), mergeHeads(attend(q, k, v, { mask, scale: 1 })), config.d_model, config, (config.num_heads * config.d_kv) ** -0.5);
}

/**
 * Bucket of each distance 0 … maxDistance: exact up to half the buckets, then logarithmic (HF `_relative_position_bucket`, in float32
 * as there, so that distances on an edge fall to the same side).
 */
export function distanceBuckets(buckets: number, maxDistance: number): number[] {
  const exact = Math.floor(buckets / 2);
  const scale = Math.fround(Math.log(maxDistance / exact));
  return Array.from({ length: maxDistance + 1 }, (_, distance) => {
    if (distance < exact) return distance;
    const part = Math.fround(Math.fround(Math.log(Math.fround(distance / exact))) / scale);
    return Math.min(buckets - 1, exact + Math.trunc(Math.fround(part * (buckets - exact))));
  });
}

/** The learnt bias by distance of queries [batch or 1, tokens] and keys [keys]: [batch or 1, heads, tokens, keys]. */
function relativeBias(g: Scope, queries: Tensor, keys: Tensor, isBidirectional: boolean, config: T5Config): Tensor {
  const buckets = config.relative_attention_num_buckets ?? 32;
  const maxDistance = config.relative_attention_max_distance ?? 128;
  const offset = sub(unsqueeze(keys, [0, 1]), unsqueeze(queries, [2])); // [batch or 1, tokens, keys], positive: the key is later
  const sided = isBidirectional ? buckets / 2 : buckets;
  const table = constant(keys, int64([maxDistance + 1], distanceBuckets(sided, maxDistance)));
  const distance = clip(isBidirectional ? abs(offset) : neg(offset), 0, maxDistance);
  const bucket = gather(table, distance);
  const signed = isBidirectional ? add(bucket, mul(cast(greater(offset, 0), 'int64'), sided)) : bucket;
  const weights = embedding(g.scope('relative_attention_bias'), signed, buckets, config.num_heads, deviation(config, config.d_model ** -0.5)); // [.., tokens, keys, heads]
  return transpose(weights, [0, 3, 1, 2]);
}

/** `wo(act(wi(x)))`, or gated: `wo(act(wi_0(x)) * wi_1(x))`. */
function feedForward(g: Scope, x: Tensor, config: T5Config): Tensor {
  const kind = config.feed_forward_proj ?? 'relu';
  const isGated = kind.startsWith('gated-');
  const name = config.dense_act_fn ?? (kind === 'gated-gelu' ? 'gelu_new' : kind.replace('gated-', ''));
  const up = (part: string): Tensor => dense(g.scope(part), x, config.d_ff, config, config.d_model ** -0.5);
  const inner = isGated ? mul(activation(name, up('wi_0')), up('wi_1')) : activation(name, up('wi'));
  return dense(g.scope('wo'), inner, config.d_model, config, config.d_ff ** -0.5);
}

function encode(g: Scope, x: Tensor, mask: Tensor, config: T5Config): Tensor {
  const positions = range(x, x.shape[1]!);
  const first = g.scope('encoder', 'block', 0, 'layer', 0, 'SelfAttention');
  const bias = add(relativeBias(first, unsqueeze(positions, [0]), positions, true, config), paddingMask(mask)); // [batch, heads, source, source]
  let hidden = x; // [batch, source, d_model]
  for (let i = 0; i < config.num_layers; i++) {
    const layer = g.scope('encoder', 'block', i, 'layer');
    const normed = rmsNorm(layer.scope(0, 'layer_norm'), hidden, epsilon(config));
    const self = layer.scope(0, 'SelfAttention');
    const [q, k, v] = [project(self, 'q', normed, config), project(self, 'k', normed, config), project(self, 'v', normed, config)];
    hidden = add(hidden, mix(self, q, k, v, bias, config));
    hidden = add(hidden, feedForward(layer.scope(1, 'DenseReluDense'), rmsNorm(layer.scope(1, 'layer_norm'), hidden, epsilon(config)), config));
  }
  return rmsNorm(g.scope('encoder', 'final_layer_norm'), hidden, epsilon(config));
}

function crossMemory(g: Scope, states: Tensor, layer: number, config: T5Config): readonly [Tensor, Tensor] {
  const cross = g.scope('decoder', 'block', layer, 'layer', 1, 'EncDecAttention');
  return [project(cross, 'k', states, config), project(cross, 'v', states, config)];
}

function decode(g: Scope, x: Tensor, context: DecoderContext, config: T5Config): Tensor {
  const first = g.scope('decoder', 'block', 0, 'layer', 0, 'SelfAttention');
  const bias = add(relativeBias(first, context.positions, context.keyPositions, false, config), context.mask);
  let hidden = x; // [batch, tokens, d_model]
  for (let i = 0; i < decoderLayers(config); i++) {
    const layer = g.scope('decoder', 'block', i, 'layer');
    const self = layer.scope(0, 'SelfAttention');
    const normed = rmsNorm(layer.scope(0, 'layer_norm'), hidden, epsilon(config));
    const [keys, values] = context.memory(i, project(self, 'k', normed, config), project(self, 'v', normed, config));
    hidden = add(hidden, mix(self, project(self, 'q', normed, config), keys, values, bias, config));

    const cross = layer.scope(1, 'EncDecAttention');
    const q = project(cross, 'q', rmsNorm(layer.scope(1, 'layer_norm'), hidden, epsilon(config)), config);
    const [source, sourceValues] = context.cross(i);
    hidden = add(hidden, mix(cross, q, source, sourceValues, context.crossMask, config));

    hidden = add(hidden, feedForward(layer.scope(2, 'DenseReluDense'), rmsNorm(layer.scope(2, 'layer_norm'), hidden, epsilon(config)), config));
  }
  return rmsNorm(g.scope('decoder', 'final_layer_norm'), hidden, epsilon(config));
}

const embed = (g: Scope, inputIds: Tensor, config: T5Config): Tensor => embedding(g.scope('shared'), inputIds, config.vocab_size, config.d_model, deviation(config, 1));

function head(g: Scope, hidden: Tensor, config: T5Config): Tensor {
  const scaled = (config.scale_decoder_outputs ?? isTied(config)) ? mul(hidden, config.d_model ** -0.5) : hidden;
  const [owner, std] = isTied(config) ? [g.scope('shared'), 1] : [g.scope('lm_head'), config.d_model ** -0.5];
  return linearWith(scaled, owner.parameter('weight', [config.vocab_size, config.d_model], { initialiser: { kind: 'normal', std: deviation(config, std) } }), null);
}

/**
 * The head that the file means. Untied, says the config, and the file has none: HuggingFace's class ties it all the same and only leaves
 * out the scaling. Tied, says the config, and the file has one: it is the head, and the scaling stays.
 */
function fit(config: T5Config, has: (name: string) => boolean): T5Config {
  const owns = has('lm_head.weight');
  if (owns !== isTied(config)) return config;
  return { ...config, tie_word_embeddings: !owns, scale_decoder_outputs: config.scale_decoder_outputs ?? isTied(config) };
}

/** The parts of T5. */
export const t5Family: EncoderDecoderFamily<T5Config> = {
  name: 't5',
  configSchema: t5ConfigSchema,
  defaults: { vocab_size: 32128, d_model: 512, d_kv: 64, d_ff: 2048, num_layers: 6, num_heads: 8, pad_token_id: 0, eos_token_id: 1 },
  fit,
  width: (config) => config.d_model,
  vocabulary: (config) => config.vocab_size,
  specialTokens,
  decoderLayers,
  heads: (config) => config.num_heads,
  headWidth: (config) => config.d_kv,
  embed,
  encode,
  crossMemory,
  decode,
  head,
};

const t5: LanguageModelPlugin<T5Config> = encoderDecoder(t5Family);
export default t5;
