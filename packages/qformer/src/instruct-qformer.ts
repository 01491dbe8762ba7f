/**
 * The Q-Former of InstructBLIP (arXiv 2305.06500 §2.3; HF `InstructBlipQFormerModel`): BLIP-2's, which reads the instruction beside the
 * queries. They see each other wholly (padding apart), so what the queries take from the image depends on what is asked; only the
 * queries' outputs go on to the language model. Without an instruction it is read by the queries alone (LAVIS `qformer_text_input: false`).
 *
 * The layers are those of `twin-transformer.ts`; the checkpoint keeps embeddings and their norm under `qformer.embeddings`.
 */
import type { Bridge, BridgeBuildOptions, BridgeEncoding, BridgePlugin, BridgeText, Scope, Tensor } from '@querent/core';
import { DEFAULT_STD, add, embedding, layerNorm, slice } from '@querent/graph';
import { bertStart } from './bert.ts';
import type { QFormerConfig } from './config.ts';
import { INSTRUCT_QFORMER_DEFAULTS, QFORMER_TOP_LEVEL_KEYS, instructQformerConfigSchema } from './config.ts';
import { paddingMask } from './masks.ts';
import type { Pass, PassResult, Setting } from './twin-transformer.ts';
import { imageMemory, twinOf, twinTransformer } from './twin-transformer.ts';

const NORMAL = { kind: 'normal', std: DEFAULT_STD } as const;

/** What it adds to the contract. */
export interface InstructQFormer extends Bridge {
  /** Hidden states of queries and instruction together, float32 [batch, queries + tokens, hidden]: what HF's model gives. */
  readJointly(features: Tensor, text: BridgeText): Tensor;
}

/** The Q-Former over the root scope `g`. Adds nothing to the graph until one of its functions is called. */
export function instructQformer(g: Scope, config: QFormerConfig, options: BridgeBuildOptions = {}): InstructQFormer {
  const dropout = options.dropout ?? ((x: Tensor): Tensor => x);
  const setting: Setting = { config, dropout };
  const { hidden_size: hidden, num_query_tokens: queries } = config;
  const root = g.scope('qformer');
  const embeddings = root.scope('embeddings');
  const image = imageMemory(g, root, setting);

  /** Queries and text pass through one norm; only text has positions, from 0 on. */
  const embed = (x: Tensor): Tensor => dropout(layerNorm(embeddings.scope('layernorm'), x, config.layer_norm_eps));

  const embedQueries = (): Tensor => embed(g.parameter('query_tokens', [1, queries, hidden], { initialiser: NORMAL })); // [1, queries, hidden]

  function embedText({ inputIds }: BridgeText): Tensor {
    const words = embedding(embeddings.scope('word_embeddings'), inputIds, config.vocab_size, hidden);
    const table = embeddings.parameter('position_embeddings.weight', [config.max_position_embeddings, hidden], { initialiser: NORMAL });
    return embed(add(words, slice(table, 0, 0, inputIds.shape[1]!))); // [batch, tokens, hidden]
  }

  function withText(features: Tensor, text: BridgeText): Omit<Pass, 'wanted'> {
    const mask = paddingMask(text.attentionMask, queries);
    return { queries: embedQueries(), text: embedText(text), queryMask: mask, textMask: mask, image: image(features) };
  }

  /** Both streams to the end: HF's checkpoints hold the text's last feed-forward too, though only the queries go on. */
  const joint = (features: Tensor, text: BridgeText): PassResult => twinTransformer(root, { ...withText(features, text), wanted: 'both' }, setting);

  return {
    encode(features: Tensor, text?: BridgeText): BridgeEncoding {
      if (text !== undefined) {
        const { output, crossAttentions } = joint(features, text);
        return { queries: slice(output, 1, 0, queries), pastKeyValues: [], crossAttentions };
      }
      const { output, keyValues, crossAttentions } = twinTransformer(root, { queries: embedQueries(), image: image(features), wanted: 'queries' }, setting);
      return { queries: output, pastKeyValues: keyValues, crossAttentions };
    },
    readJointly: (features, text) => joint(features, text).output,
  };
}

/** A {@link BridgePlugin} that says it gives an {@link InstructQFormer}. */
export interface InstructQFormerPlugin extends BridgePlugin<QFormerConfig> {
  build(g: Scope, config: QFormerConfig, options?: BridgeBuildOptions): InstructQFormer;
}

/** `instructblip_qformer` as a plugin. */
const plugin: InstructQFormerPlugin = {
  kind: 'bridge',
  name: 'instructblip_qformer',
  contract: 1,
  configSchema: instructQformerConfigSchema,
  defaults: INSTRUCT_QFORMER_DEFAULTS,
  topLevelKeys: QFORMER_TOP_LEVEL_KEYS,
  width: (config) => config.hidden_size,
  queries: (config) => config.num_query_tokens,
  build: instructQformer,
  initialisedAs: twinOf,
  start: bertStart({ embeddings: 'qformer.embeddings', norm: 'qformer.embeddings.layernorm' }),
};
export default plugin;
