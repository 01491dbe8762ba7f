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
 * The layers are in `twin-transformer.ts`. Parameters are named as in HF's checkpoints; for ITG, which HF lacks, `temp` and BERT's `cls.predictions.*` are added.
 */
import type {
  Bridge,
  BridgeBuildOptions,
  BridgeEncoding,
  BridgePlugin,
  BridgeText,
  Initialiser,
  MatchOptions,
  Scope,
  Tensor,
} from '@querent/core';
import { QuerentError } from '@querent/core';
import {
  add, div, embedding, gather, layerNorm, linear, linearWith, matMul, mul, reduceMax, reduceMean, reduceSum, reshape,
  slice, sqrt, squeeze, transpose,
} from '@querent/graph';
import { activation } from './activation.ts';
import { bertStart } from './bert.ts';
import type { QFormerConfig } from './config.ts';
import { QFORMER_DEFAULTS, QFORMER_TOP_LEVEL_KEYS, qformerConfigSchema } from './config.ts';
import { paddingMask, prefixCausalMask, queriesOnlyMask } from './masks.ts';
import type { Pass, PassResult, Setting } from './twin-transformer.ts';
import { imageMemory, twinOf, twinTransformer } from './twin-transformer.ts';

const INITIAL_TEMPERATURE = 0.07;

/** `x / |x|` over the last axis. */
function unit(x: Tensor): Tensor {
  return div(x, sqrt(add(reduceSum(mul(x, x), [-1]), 1e-24)));
}

/** What the Q-Former adds to the contract. */
export interface QFormer extends Bridge {
  readonly contrast: NonNullable<Bridge['contrast']>;
  readonly match: NonNullable<Bridge['match']>;
  readonly generateText: NonNullable<Bridge['generateText']>;
  readonly maskedText: NonNullable<Bridge['maskedText']>;
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
  const { hidden_size: hidden, initializer_range: std } = config;
  const normal: Initialiser = { kind: 'normal', std };

  const image = imageMemory(g, root, setting);

  /** Queries and text pass through one norm; only text has positions, from 0 on. */
  const embed = (x: Tensor): Tensor => dropout(layerNorm(root.scope('layernorm'), x, config.layer_norm_eps));

  let queries: Tensor | undefined;
  const embedQueries = (): Tensor => (queries ??= embed(g.parameter('query_tokens', [1, config.num_query_tokens, hidden], { initialiser: normal }))); // [1, queries, hidden]

  const texts = new Map<string, Tensor>();
  function embedText({ inputIds }: BridgeText): Tensor {
    const known = texts.get(inputIds.name) ?? embedTokens(inputIds);
    texts.set(inputIds.name, known);
    return known;
  }

  function embedTokens(inputIds: Tensor): Tensor {
    const words = embedding(g.scope('embeddings', 'word_embeddings'), inputIds, config.vocab_size, hidden, std);
    const table = g.parameter('embeddings.position_embeddings.weight', [config.max_position_embeddings, hidden], { initialiser: normal });
    return embed(add(words, slice(table, 0, 0, inputIds.shape[1]!))); // [batch, tokens, hidden]
  }

  /** The LM head: BERT's transform, then the word embeddings once more. */
  function predictTokens(x: Tensor): Tensor {
    const head = g.scope('cls', 'predictions');
    const transform = head.scope('transform');
    const inner = activation(config.hidden_act, linear(transform.scope('dense'), x, hidden, { std }));
    const words = g.parameter('embeddings.word_embeddings.weight', [config.vocab_size, hidden], { initialiser: normal });
    return linearWith(layerNorm(transform.scope('LayerNorm'), inner, config.layer_norm_eps), words, head.parameter('bias', [config.vocab_size]));
  }

  function encodeText(text: BridgeText): Tensor {
    return twinTransformer(root, { text: embedText(text), textMask: paddingMask(text.attentionMask, 0), wanted: 'text' }, setting).output;
  }

  /** Queries and text see each other; `images` and `texts` pick what each row is of. */
  function fuse(features: Tensor, text: BridgeText, { images, texts: textRows }: MatchOptions = {}): PassResult {
    const pick = (x: Tensor, rows: Tensor | undefined): Tensor => (rows === undefined ? x : gather(x, rows));
    const seen = image(features).map((kv) => kv && { keys: pick(kv.keys, images), values: pick(kv.values, images) });
    const mask = paddingMask(text.attentionMask, config.num_query_tokens);
    const pass: Pass = { queries: embedQueries(), text: embedText(text), queryMask: mask, textMask: mask, image: seen, wanted: 'queries' };
    return twinTransformer(root, textRows === undefined ? pass : { ...pass, textRows }, setting);
  }

  return {
    encode(features: Tensor, text?: BridgeText): BridgeEncoding {
      const seen = image(features);
      if (text !== undefined) {
        const { output, crossAttentions } = fuse(features, text);
        return { queries: output, pastKeyValues: [], crossAttentions };
      }
      const { output, keyValues: pastKeyValues, crossAttentions } = twinTransformer(root, { queries: embedQueries(), image: seen, wanted: 'queries' }, setting);
      return { queries: output, pastKeyValues, crossAttentions };
    },

    contrast: {
      imageFeatures: (queries) => unit(linear(g.scope('vision_projection'), queries, config.image_text_hidden_size, { std })), // [batch, queries, shared]
      textFeatures(text) {
        const pass: Pass = { text: embedText(text), textMask: paddingMask(text.attentionMask, 0), wanted: 'first-token' };
        const first = squeeze(twinTransformer(root, pass, setting).output, [1]); // [batch, hidden]
        return unit(linear(g.scope('text_projection'), first, config.image_text_hidden_size, { std }));
      },
      similarity(imageFeatures, textFeatures) {
        const [count, queries, shared] = imageFeatures.shape;
        const cosines = matMul(reshape(imageFeatures, [-1, shared!]), transpose(textFeatures, [1, 0])); // [images * queries, texts]
        return reduceMax(reshape(cosines, [count!, queries!, textFeatures.shape[0]!]), [1], false); // [images, texts]
      },
      temperature: () => g.parameter('temp', [], { initialiser: { kind: 'constant', value: INITIAL_TEMPERATURE } }),
    },

    match(features: Tensor, text: BridgeText, matchOptions: MatchOptions = {}): Tensor {
      const { output } = fuse(features, text, matchOptions);
      // The mean over the queries of the head is the head of the mean.
      return linear(g.scope('itm_head'), reduceMean(output, [1], false), 2, { std }); // [rows, 2]
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
      const pass: Pass = { queries: embedQueries(), text: embedText(text), queryMask, textMask, image: image(features), wanted: 'text' };
      return predictTokens(twinTransformer(root, pass, setting).output);
    },

    maskedText: (text) => predictTokens(encodeText(text)),

    encodeText,
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
  initialisedAs: twinOf,
  start: bertStart({ embeddings: 'embeddings', norm: 'qformer.layernorm' }),
};
export default plugin;
