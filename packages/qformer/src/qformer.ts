/**
 * The Q-Former of BLIP-2 (arXiv 2301.12597 §3.1; HF `Blip2QFormerModel` and `Blip2ForImageTextRetrieval`): a BERT of two
 * streams. Learned queries look at the image; text looks at nothing but itself and the queries. Both share the
 * self-attention, each has its own feed-forward. Norms come after the sums (post-LN).
 *
 * A mask decides who sees whom. Where it hides a whole stream, that stream is left out instead:
 *
 *     ITC   queries → queries           text → text             two passes
 *     ITM   queries, text → queries, text (padding apart)       one pass
 *     ITG   queries → queries           text → queries, earlier text   the text pass reads the query pass's keys and values
 *
 * Parameters are named as in HF's checkpoints; for ITG, which HF lacks, `temp` and BERT's `cls.predictions.*` are added.
 */
import type {
  Bridge,
  BridgeBuildOptions,
  BridgeEncoding,
  BridgePlugin,
  BridgeText,
  Initialiser,
  KeyValues,
  MatchOptions,
  Scope,
  Tensor,
} from '@querent/core';
import { QuerentError } from '@querent/core';
import {
  DEFAULT_STD, add, concat, div, embedding, expand, gather, layerNorm, linear, linearWith, matMul, mergeHeads, mul, reduceMax, reduceMean,
  reduceSum, reshape, scaledDotProductAttention, slice, splitHeads, sqrt, squeeze, transpose,
} from '@querent/graph';
import { activation } from './activation.ts';
import type { QFormerConfig } from './config.ts';
import { QFORMER_DEFAULTS, QFORMER_TOP_LEVEL_KEYS, qformerConfigSchema } from './config.ts';
import { paddingMask, prefixCausalMask, queriesOnlyMask } from './masks.ts';

const NORMAL: Initialiser = { kind: 'normal', std: DEFAULT_STD };
/** Of the norm that LAVIS puts over a frozen tower (`ln_vision`). */
const VISION_NORM_EPSILON = 1e-5;
const INITIAL_TEMPERATURE = 0.07;

/** The config and the dropout, which every block needs. */
interface Setting {
  readonly config: QFormerConfig;
  readonly dropout: (x: Tensor) => Tensor;
}

/** `LN(x + dropout(dense(inner)))` (HF `Blip2QFormerSelfOutput`, `…Output`). */
function addAndNorm(g: Scope, x: Tensor, inner: Tensor, { config, dropout }: Setting): Tensor {
  return layerNorm(g.scope('LayerNorm'), add(x, dropout(linear(g.scope('dense'), inner, config.hidden_size))), config.layer_norm_eps);
}

/** Keys and values of `x` [batch, tokens, width], in heads. */
function keyValues(g: Scope, x: Tensor, { config }: Setting): KeyValues {
  const project = (name: string): Tensor => splitHeads(linear(g.scope(name), x, config.hidden_size), config.num_attention_heads);
  return { keys: project('key'), values: project('value') }; // [batch, heads, tokens, headWidth]
}

function concatKeyValues(parts: readonly KeyValues[]): KeyValues {
  return { keys: concat(parts.map((part) => part.keys), 2), values: concat(parts.map((part) => part.values), 2) };
}

/** Multi-head attention of `x` over `memory`, and its sum and norm (Vaswani 2017; HF `Blip2QFormerAttention`). */
function attend(g: Scope, x: Tensor, memory: KeyValues, mask: Tensor | undefined, setting: Setting): { x: Tensor; probabilities: Tensor } {
  const { hidden_size: hidden, num_attention_heads: heads } = setting.config;
  const q = splitHeads(linear(g.scope('attention', 'query'), x, hidden), heads); // [batch, heads, tokens, headWidth]
  const { output, probabilities } = scaledDotProductAttention(q, memory.keys, memory.values, mask === undefined ? {} : { mask });
  return { x: addAndNorm(g.scope('output'), x, mergeHeads(output), setting), probabilities };
}

/** Two layers and an activation (HF `Blip2QFormerIntermediate` and `…Output`): `_query` for the queries, none for text. */
function feedForward(g: Scope, x: Tensor, suffix: '' | '_query', setting: Setting): Tensor {
  const { config } = setting;
  const inner = activation(config.hidden_act, linear(g.scope(`intermediate${suffix}`, 'dense'), x, config.intermediate_size));
  return addAndNorm(g.scope(`output${suffix}`), x, inner, setting);
}

/** One pass through all layers. */
interface Pass {
  /** [batch, queries, hidden], normed. */
  readonly queries?: Tensor;
  /** [batch, tokens, hidden], normed. */
  readonly text?: Tensor;
  /** Added to the scores of the queries, and of the text, against [past, queries, text]. */
  readonly queryMask?: Tensor;
  readonly textMask?: Tensor;
  /** A layer each: what both streams see before themselves. */
  readonly past?: readonly KeyValues[];
  /** The image's keys and values, in the layers that look at it. */
  readonly image?: readonly (KeyValues | undefined)[];
  /** What the caller reads: the last layer computes nothing else. */
  readonly wanted: 'queries' | 'text' | 'first-token';
}

interface PassResult {
  /** [batch, queries or tokens or 1, hidden], as wanted. */
  readonly output: Tensor;
  readonly keyValues: readonly KeyValues[];
  readonly crossAttentions: readonly (Tensor | null)[];
}

/** The layers (HF `Blip2QFormerEncoder`). */
function twinTransformer(g: Scope, pass: Pass, setting: Setting): PassResult {
  const layers = setting.config.num_hidden_layers;
  let { queries, text } = pass;
  const cache: KeyValues[] = [];
  const crossAttentions: (Tensor | null)[] = [];
  for (let i = 0; i < layers; i++) {
    const layer = g.scope('encoder', 'layer', i);
    const self = layer.scope('attention');
    const streams = [queries, text].filter((stream) => stream !== undefined);
    const own = streams.map((stream) => keyValues(self.scope('attention'), stream, setting));
    const past = pass.past?.[i];
    const memory = concatKeyValues(past === undefined ? own : [past, ...own]);
    cache.push(memory);
    if (i === layers - 1) {
      if (pass.wanted === 'queries') text = undefined;
      else queries = undefined;
      if (pass.wanted === 'first-token' && text !== undefined) text = slice(text, 1, 0, 1);
    }
    let looked: Tensor | null = null;
    if (queries !== undefined) {
      queries = attend(self, queries, memory, pass.queryMask, setting).x;
      const image = pass.image?.[i];
      if (image !== undefined) {
        const cross = attend(layer.scope('crossattention'), queries, image, undefined, setting);
        [queries, looked] = [cross.x, cross.probabilities];
      }
      queries = feedForward(layer, queries, '_query', setting);
    }
    if (text !== undefined) {
      text = attend(self, text, memory, pass.textMask, setting).x;
      text = feedForward(layer, text, '', setting);
    }
    crossAttentions.push(looked);
  }
  const output = pass.wanted === 'queries' ? queries : text;
  if (output === undefined) throw new QuerentError('QRT_GRAPH_OP', `A Q-Former pass was asked for its ${pass.wanted}, which it was not given.`);
  return { output, keyValues: cache, crossAttentions };
}

/** `x / |x|` over the last axis. */
function unit(x: Tensor): Tensor {
  return div(x, sqrt(add(reduceSum(mul(x, x), [-1]), 1e-24)));
}

/** What the Q-Former adds to the contract. */
export interface QFormer extends Bridge {
  readonly contrast: NonNullable<Bridge['contrast']>;
  readonly match: NonNullable<Bridge['match']>;
  readonly generateText: NonNullable<Bridge['generateText']>;
  /**
   * {@link Bridge.generateText} in the paper's form: queries and text in one pass under the multimodal causal mask
   * (UniLM's). The same logits, and the queries are computed once more: for tests and for reading.
   */
  generateTextJointly(features: Tensor, text: BridgeText): Tensor;
  /** Hidden states of the text alone, float32 [batch, tokens, hidden]: BERT. */
  encodeText(text: BridgeText): Tensor;
}

/** The Q-Former over the root scope `g`. Adds nothing to the graph until one of its functions is called. */
export function qformer(g: Scope, config: QFormerConfig, options: BridgeBuildOptions = {}): QFormer {
  const dropout = options.dropout ?? ((x: Tensor): Tensor => x);
  const setting: Setting = { config, dropout };
  const root = g.scope('qformer');
  const hidden = config.hidden_size;
  const images = new Map<string, readonly (KeyValues | undefined)[]>();

  /** Keys and values of the features in the layers that look at them: once per image, however many passes look. */
  function image(features: Tensor): readonly (KeyValues | undefined)[] {
    const known = images.get(features.name);
    if (known !== undefined) return known;
    const width = features.shape.at(-1);
    if (features.shape.length !== 3 || width !== config.encoder_hidden_size) {
      throw new QuerentError('QRT_GRAPH_OP', `The Q-Former was given features [${features.shape.join(', ')}]; expected [batch, patches, ${config.encoder_hidden_size}].`, {
        fix: "Set encoder_hidden_size in qformer_config to the encoder's width.",
      });
    }
    const seen = config.vision_layer_norm ? layerNorm(g.scope('ln_vision'), features, VISION_NORM_EPSILON) : features;
    const made = Array.from({ length: config.num_hidden_layers }, (_, i) =>
      i % config.cross_attention_frequency === 0 ? keyValues(root.scope('encoder', 'layer', i, 'crossattention', 'attention'), seen, setting) : undefined,
    );
    images.set(features.name, made);
    return made;
  }

  /** Queries and text pass through one norm; only text has positions, from 0 on. */
  const embed = (x: Tensor): Tensor => dropout(layerNorm(root.scope('layernorm'), x, config.layer_norm_eps));

  function embedQueries(batch: Tensor): Tensor {
    const tokens = g.parameter('query_tokens', [1, config.num_query_tokens, hidden], { initialiser: NORMAL });
    return embed(expand(tokens, [batch.shape[0]!, config.num_query_tokens, hidden])); // [batch, queries, hidden]
  }

  function embedText({ inputIds }: BridgeText): Tensor {
    const words = embedding(g.scope('embeddings', 'word_embeddings'), inputIds, config.vocab_size, hidden);
    const table = g.parameter('embeddings.position_embeddings.weight', [config.max_position_embeddings, hidden], { initialiser: NORMAL });
    return embed(add(words, slice(table, 0, 0, inputIds.shape[1]!))); // [batch, tokens, hidden]
  }

  /** The LM head: BERT's transform, then the word embeddings once more. */
  function predictTokens(x: Tensor): Tensor {
    const head = g.scope('cls', 'predictions');
    const transform = head.scope('transform');
    const inner = activation(config.hidden_act, linear(transform.scope('dense'), x, hidden));
    const words = g.parameter('embeddings.word_embeddings.weight', [config.vocab_size, hidden], { initialiser: NORMAL });
    return linearWith(layerNorm(transform.scope('LayerNorm'), inner, config.layer_norm_eps), words, head.parameter('bias', [config.vocab_size]));
  }

  /** Queries and text see each other; `rows` picks the image of each text. */
  function fuse(features: Tensor, text: BridgeText, rows?: Tensor): PassResult {
    const seen = image(features).map((kv) => (kv === undefined || rows === undefined ? kv : { keys: gather(kv.keys, rows), values: gather(kv.values, rows) }));
    const mask = paddingMask(text.attentionMask, config.num_query_tokens);
    return twinTransformer(root, { queries: embedQueries(text.inputIds), text: embedText(text), queryMask: mask, textMask: mask, image: seen, wanted: 'queries' }, setting);
  }

  return {
    encode(features: Tensor, text?: BridgeText): BridgeEncoding {
      const seen = image(features);
      if (text !== undefined) {
        const { output, crossAttentions } = fuse(features, text);
        return { queries: output, pastKeyValues: [], crossAttentions };
      }
      const { output, keyValues: pastKeyValues, crossAttentions } = twinTransformer(root, { queries: embedQueries(features), image: seen, wanted: 'queries' }, setting);
      return { queries: output, pastKeyValues, crossAttentions };
    },

    contrast: {
      imageFeatures: (queries) => unit(linear(g.scope('vision_projection'), queries, config.image_text_hidden_size)), // [batch, queries, shared]
      textFeatures(text) {
        const pass: Pass = { text: embedText(text), textMask: paddingMask(text.attentionMask, 0), wanted: 'first-token' };
        const first = squeeze(twinTransformer(root, pass, setting).output, [1]); // [batch, hidden]
        return unit(linear(g.scope('text_projection'), first, config.image_text_hidden_size));
      },
      similarity(imageFeatures, textFeatures) {
        const [count, queries, shared] = imageFeatures.shape;
        const cosines = matMul(reshape(imageFeatures, [-1, shared!]), transpose(textFeatures, [1, 0])); // [images * queries, texts]
        return reduceMax(reshape(cosines, [count!, queries!, textFeatures.shape[0]!]), [1], false); // [images, texts]
      },
      temperature: () => g.parameter('temp', [], { initialiser: { kind: 'constant', value: INITIAL_TEMPERATURE } }),
    },

    match(features: Tensor, text: BridgeText, matchOptions: MatchOptions = {}): Tensor {
      const { output } = fuse(features, text, matchOptions.images);
      // The mean over the queries of the head is the head of the mean.
      return linear(g.scope('itm_head'), reduceMean(output, [1], false), 2); // [rows, 2]
    },

    generateText(image: BridgeEncoding, text: BridgeText): Tensor {
      if (image.pastKeyValues.length !== config.num_hidden_layers) {
        throw new QuerentError('QRT_GRAPH_OP', `generateText needs the keys and values of ${config.num_hidden_layers} layers, it was given ${image.pastKeyValues.length}.`, {
          fix: 'Give it what encode(features) returned, without a text.',
        });
      }
      const textMask = prefixCausalMask(text.attentionMask, config.num_query_tokens);
      return predictTokens(twinTransformer(root, { text: embedText(text), textMask, past: image.pastKeyValues, wanted: 'text' }, setting).output);
    },

    generateTextJointly(features: Tensor, text: BridgeText): Tensor {
      const queryMask = queriesOnlyMask(text.attentionMask, config.num_query_tokens);
      const textMask = prefixCausalMask(text.attentionMask, config.num_query_tokens);
      const pass: Pass = { queries: embedQueries(features), text: embedText(text), queryMask, textMask, image: image(features), wanted: 'text' };
      return predictTokens(twinTransformer(root, pass, setting).output);
    },

    encodeText: (text) => twinTransformer(root, { text: embedText(text), textMask: paddingMask(text.attentionMask, 0), wanted: 'text' }, setting).output,
  };
}

/** A {@link BridgePlugin} that says it gives a {@link QFormer}. */
export interface QFormerPlugin extends BridgePlugin<QFormerConfig> {
  build(g: Scope, config: QFormerConfig, options?: BridgeBuildOptions): QFormer;
}

/** `blip_2_qformer` as a plugin. */
const plugin: QFormerPlugin = {
  kind: 'bridge',
  name: 'blip_2_qformer',
  contract: 1,
  configSchema: qformerConfigSchema,
  defaults: QFORMER_DEFAULTS,
  topLevelKeys: QFORMER_TOP_LEVEL_KEYS,
  width: (config) => config.hidden_size,
  queries: (config) => config.num_query_tokens,
  build: qformer,
  initialisedAs: (name) => (/\.(intermediate|output)_query\./.test(name) ? name.replace('_query.', '.') : undefined),
};
export default plugin;
