/**
 * BERT (Devlin 2019; HF `BertModel`, `BertForMaskedLM`): norms after each sum, learnt positions and segments, every token sees every other.
 * It fills in masked tokens and writes nothing, so it is no plugin but functions over a graph. Its layers, which can also look at an image
 * and at the past only, are those of `blip-text.ts`. Names are the checkpoint's: `bert.encoder.layer.0.attention.self.query.weight`.
 */
import type { Initialiser, Scope, Tensor } from '@querent/core';
import { DEFAULT_STD, add, crossEntropy, embedding, gather, layerNorm, linear, linearWith, mergeHeads, mul, splitHeads, unsqueeze, range } from '@querent/graph';
import { ACTIVATIONS, activation } from './activation.ts';
import type { Memory } from './attention.ts';
import { attend, forget, paddingMask } from './attention.ts';

/** What all of BERT's layers read of a config. */
export interface BertLayerConfig {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly intermediate_size: number;
  readonly max_position_embeddings: number;
  readonly hidden_act?: string;
  readonly layer_norm_eps?: number;
}

/** HF `BertConfig`, as far as it is read. */
export interface BertConfig extends BertLayerConfig {
  readonly type_vocab_size?: number;
  readonly tie_word_embeddings?: boolean;
}

const count = (description: string): Readonly<Record<string, unknown>> => ({ type: 'integer', minimum: 1, description });

/** The properties of {@link BertLayerConfig}. */
export const bertLayerProperties: Readonly<Record<string, unknown>> = {
  vocab_size: count('Token ids there are.'),
  hidden_size: count('Width of the residual stream.'),
  num_hidden_layers: count('Layers.'),
  num_attention_heads: count('Attention heads.'),
  intermediate_size: count('Width inside the feed-forward block.'),
  max_position_embeddings: count('Longest text.'),
  hidden_act: { enum: ACTIVATIONS, description: 'Activation of the feed-forward block and the head. Default gelu.' },
  layer_norm_eps: { type: 'number', minimum: 0, description: 'Added to the variance. Default 1e-12.' },
};

export const bertConfigSchema: Readonly<Record<string, unknown>> = {
  type: 'object',
  required: ['vocab_size', 'hidden_size', 'num_hidden_layers', 'num_attention_heads', 'intermediate_size', 'max_position_embeddings'],
  properties: {
    ...bertLayerProperties,
    type_vocab_size: count('Kinds of segments. Default 2.'),
    tie_word_embeddings: { type: 'boolean', description: 'The head is the embedding table. Default true.' },
  },
};

const NORMAL: Initialiser = { kind: 'normal', std: DEFAULT_STD };

/** The epsilon of every norm. */
export const bertEpsilon = (config: BertLayerConfig): number => config.layer_norm_eps ?? 1e-12;

const activationOf = (config: BertLayerConfig): string => config.hidden_act ?? 'gelu';

/** What the layers read beside their own tokens. */
export interface BertLayerContext {
  /** Additive, broadcasts to [batch, heads, tokens, keys]. */
  readonly mask: Tensor;
  readonly memory: Memory;
  /** Keys and values of what each layer looks at between its self-attention and its feed-forward; absent: it looks at nothing. */
  readonly cross?: (layer: number) => readonly [Tensor, Tensor];
  /** Additive, broadcasts to [batch, heads, tokens, source]; absent: everything is seen. */
  readonly crossMask?: Tensor;
}

/** `LN(x + dense(inner))` (HF `BertSelfOutput`, `BertOutput`). */
function addAndNorm(g: Scope, x: Tensor, inner: Tensor, config: BertLayerConfig): Tensor {
  return layerNorm(g.scope('LayerNorm'), add(x, linear(g.scope('dense'), inner, config.hidden_size)), bertEpsilon(config));
}

/** One of a head's projections, [batch, heads, tokens, headWidth]. */
function project(g: Scope, name: 'query' | 'key' | 'value', x: Tensor, config: BertLayerConfig): Tensor {
  return splitHeads(linear(g.scope(name), x, config.hidden_size), config.num_attention_heads);
}

/** Keys and values that layer `layer` reads from image features [batch, patches, width]. */
export function bertCrossMemory(g: Scope, features: Tensor, layer: number, config: BertLayerConfig): readonly [Tensor, Tensor] {
  const cross = g.scope('encoder', 'layer', layer, 'crossattention', 'self');
  return [project(cross, 'key', features, config), project(cross, 'value', features, config)];
}

/** All layers (HF `BertEncoder`): embeddings [batch, tokens, hidden] → last hidden states. `g` stands where `encoder` does. */
export function bertLayers(g: Scope, x: Tensor, context: BertLayerContext, config: BertLayerConfig): Tensor {
  const scale = (config.hidden_size / config.num_attention_heads) ** -0.5;
  let hidden = x;
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const layer = g.scope('encoder', 'layer', i);
    const self = layer.scope('attention', 'self');
    const [keys, values] = context.memory(i, project(self, 'key', hidden, config), project(self, 'value', hidden, config));
    const seen = attend(project(self, 'query', hidden, config), keys, values, { mask: context.mask, scale });
    hidden = addAndNorm(layer.scope('attention', 'output'), hidden, mergeHeads(seen), config);
    if (context.cross !== undefined) {
      const [source, sourceValues] = context.cross(i);
      const cross = layer.scope('crossattention');
      const q = project(cross.scope('self'), 'query', hidden, config);
      const looked = attend(q, source, sourceValues, { scale, ...(context.crossMask === undefined ? {} : { mask: context.crossMask }) });
      hidden = addAndNorm(cross.scope('output'), hidden, mergeHeads(looked), config);
    }
    const inner = activation(activationOf(config), linear(layer.scope('intermediate', 'dense'), hidden, config.intermediate_size));
    hidden = addAndNorm(layer.scope('output'), hidden, inner, config);
  }
  return hidden;
}

/** The table of word embeddings, [vocabulary, hidden]. */
export const bertWords = (g: Scope, config: BertLayerConfig): Tensor =>
  g.parameter('embeddings.word_embeddings.weight', [config.vocab_size, config.hidden_size], { initialiser: NORMAL });

/** The head (HF `BertLMPredictionHead`): a dense layer, a norm, and a matrix that is mostly the word embeddings. */
export function bertPredictions(g: Scope, hidden: Tensor, words: Tensor, config: BertLayerConfig): Tensor {
  const transform = g.scope('transform');
  const inner = activation(activationOf(config), linear(transform.scope('dense'), hidden, config.hidden_size));
  return linearWith(layerNorm(transform.scope('LayerNorm'), inner, bertEpsilon(config)), words, g.parameter('bias', [config.vocab_size]));
}

/** What BERT reads. */
export interface BertInputs {
  /** int64 [batch, tokens], padded on the right. */
  readonly inputIds: Tensor;
  /** int64 [batch, tokens]: 1 = read. */
  readonly attentionMask: Tensor;
  /** int64 [batch, tokens]: which of two texts a token is of. All 0 when absent. */
  readonly tokenTypeIds?: Tensor;
}

/** Last hidden states, float32 [batch, tokens, hidden] (HF `BertModel`). `g` stands at `bert`. */
export function bert(g: Scope, inputs: BertInputs, config: BertConfig): Tensor {
  const hidden = config.hidden_size;
  const table = (name: string, rows: number): Tensor => g.parameter(`embeddings.${name}.weight`, [rows, hidden], { initialiser: NORMAL });
  const positions = embedding(g.scope('embeddings', 'position_embeddings'), unsqueeze(range(inputs.inputIds, inputs.inputIds.shape[1]!), [0]), config.max_position_embeddings, hidden);
  const segments = gather(table('token_type_embeddings', config.type_vocab_size ?? 2), inputs.tokenTypeIds ?? mul(inputs.inputIds, 0));
  const sum = add(add(gather(bertWords(g, config), inputs.inputIds), segments), positions); // [batch, tokens, hidden]
  const x = layerNorm(g.scope('embeddings', 'LayerNorm'), sum, bertEpsilon(config));
  return bertLayers(g, x, { mask: paddingMask(inputs.attentionMask), memory: forget }, config);
}

/** What {@link bertMaskedLanguageModel} gives. */
export interface BertMaskedOutput {
  /** float32 [batch, tokens, hidden] */
  readonly lastHiddenState: Tensor;
  /** float32 [batch, tokens, vocabulary]: what each token should be. */
  readonly logits: Tensor;
  /** Mean cross-entropy where labels are not -100, when there are labels. They stand where their token does: nothing is shifted. */
  readonly loss?: Tensor;
}

/**
 * BERT with its head (HF `BertForMaskedLM`). `g` is the checkpoint's root.
 *
 * @param inputs with `labels` int64 [batch, tokens], -100 where nothing is asked, for the loss
 */
export function bertMaskedLanguageModel(g: Scope, inputs: BertInputs & { readonly labels?: Tensor }, config: BertConfig): BertMaskedOutput {
  const lastHiddenState = bert(g.scope('bert'), inputs, config);
  const head = g.scope('cls', 'predictions');
  const untied = (): Tensor => head.parameter('decoder.weight', [config.vocab_size, config.hidden_size], { initialiser: NORMAL });
  const words = (config.tie_word_embeddings ?? true) ? bertWords(g.scope('bert'), config) : untied();
  const logits = bertPredictions(head, lastHiddenState, words, config);
  return { lastHiddenState, logits, ...(inputs.labels === undefined ? {} : { loss: crossEntropy(logits, inputs.labels).loss }) };
}
