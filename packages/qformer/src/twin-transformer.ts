/**
 * The layers that all Q-Formers share (arXiv 2301.12597 §3.1 and figure 2; HF `Blip2QFormerEncoder`): a BERT of two streams. Queries and
 * text share the self-attention, each has its own feed-forward, and only the queries look at the image. Norms come after the sums
 * (post-LN). Which stream sees which is a mask's business (`masks.ts`). `qformer.ts` and `instruct-qformer.ts` are built of these.
 */
import type { KeyValues, Scope, Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import { add, builderOf, concat, expand, gather, layerNorm, linear, mergeHeads, scaledDotProductAttention, slice, splitHeads } from '@querent/graph';
import { activation } from './activation.ts';
import type { QFormerConfig } from './config.ts';

/** The config and the dropout, which every block needs. */
export interface Setting {
  readonly config: QFormerConfig;
  readonly dropout: (x: Tensor) => Tensor;
}

/** `LN(x + dropout(dense(inner)))` (HF `Blip2QFormerSelfOutput`, `…Output`). */
function addAndNorm(g: Scope, x: Tensor, inner: Tensor, { config, dropout }: Setting): Tensor {
  return layerNorm(g.scope('LayerNorm'), add(x, dropout(linear(g.scope('dense'), inner, config.hidden_size, { std: config.initializer_range }))), config.layer_norm_eps);
}

/** One of the three products of attention, in heads: [batch, heads, tokens, headWidth]. Passes that begin with the same stream share it. */
function project(g: Scope, x: Tensor, { config }: Setting): Tensor {
  const { hidden_size: hidden, num_attention_heads: heads, initializer_range: std } = config;
  const made = (): Tensor => splitHeads(linear(g, x, hidden, { std }), heads);
  return builderOf(g).once(`${g.path}(${x.name})`, made);
}

/** Keys and values of `x` [batch, tokens, width], in heads. */
function keyValues(g: Scope, x: Tensor, setting: Setting): KeyValues {
  return { keys: project(g.scope('key'), x, setting), values: project(g.scope('value'), x, setting) };
}

function eachOf({ keys, values }: KeyValues, change: (x: Tensor) => Tensor): KeyValues {
  return { keys: change(keys), values: change(values) };
}

/** Side by side along the tokens; what is the same for the whole batch (1 row) is repeated. */
function concatKeyValues(parts: readonly KeyValues[]): KeyValues {
  const whole = parts.find(({ keys }) => keys.shape[0] !== 1);
  const same = parts.map((part) => (whole === undefined ? part : eachOf(part, (x) => expand(x, [whole.keys.shape[0]!, ...x.shape.slice(1)]))));
  return { keys: concat(same.map(({ keys }) => keys), 2), values: concat(same.map(({ values }) => values), 2) };
}

/**
 * Multi-head attention of `x` over `memory`, and its sum and norm (Vaswani 2017; HF `Blip2QFormerAttention`).
 *
 * @param pick picks the batch's rows where `x` holds each only once
 */
function attend(g: Scope, x: Tensor, memory: KeyValues, mask: Tensor | undefined, setting: Setting, pick = (rows: Tensor): Tensor => rows): { x: Tensor; probabilities: Tensor } {
  const q = pick(project(g.scope('attention', 'query'), x, setting)); // [batch, heads, tokens, headWidth]
  const { output, probabilities } = scaledDotProductAttention(q, memory.keys, memory.values, mask === undefined ? {} : { mask });
  return { x: addAndNorm(g.scope('output'), pick(x), mergeHeads(output), setting), probabilities };
}

/** Two layers and an activation (HF `Blip2QFormerIntermediate` and `…Output`): `_query` for the queries, none for text. */
function feedForward(g: Scope, x: Tensor, suffix: '' | '_query', setting: Setting): Tensor {
  const { config } = setting;
  const inner = activation(config.hidden_act, linear(g.scope(`intermediate${suffix}`, 'dense'), x, config.intermediate_size, { std: config.initializer_range }));
  return addAndNorm(g.scope(`output${suffix}`), x, inner, setting);
}

/** One pass through all layers. */
export interface Pass {
  /** [1, queries, hidden], normed: the same for all images until they look at one. */
  readonly queries?: Tensor;
  /** [texts, tokens, hidden], normed. */
  readonly text?: Tensor;
  /** int64 [batch]: which text each row has, where that is not row by row. Queries stand beside it, and look at images. */
  readonly textRows?: Tensor;
  /** Added to the scores of the queries, and of the text, against [past, queries, text]; a row each text. */
  readonly queryMask?: Tensor;
  readonly textMask?: Tensor;
  /** A layer each: what both streams see before themselves. */
  readonly past?: readonly KeyValues[];
  /** The image's keys and values, in the layers that look at it. */
  readonly image?: readonly (KeyValues | undefined)[];
  /** What the caller reads: the last layer computes nothing else. `both` is [queries ; text]. */
  readonly wanted: 'queries' | 'text' | 'first-token' | 'both';
}

export interface PassResult {
  /** [batch, queries or tokens or 1 or queries + tokens, hidden], as wanted. */
  readonly output: Tensor;
  readonly keyValues: readonly KeyValues[];
  readonly crossAttentions: readonly (Tensor | null)[];
}

/**
 * The layers (HF `Blip2QFormerEncoder`). Where rows share a text, nothing tells them apart until the queries have looked at the image, nor
 * the text until it has read such queries: up to there each text is computed once, the queries' first self-attention and the text's whole
 * first layer. (Dropout then falls alike on rows of the same text.)
 */
export function twinTransformer(g: Scope, pass: Pass, setting: Setting): PassResult {
  const layers = setting.config.num_hidden_layers;
  let { queries, text } = pass;
  const { textRows } = pass;
  const byRow = (x: Tensor): Tensor => (textRows === undefined ? x : gather(x, textRows));
  const asIs = (x: Tensor): Tensor => x;
  let [hasLooked, hasRead] = [false, false]; // the queries, the text
  const cache: KeyValues[] = [];
  const crossAttentions: (Tensor | null)[] = [];
  for (let i = 0; i < layers; i++) {
    const layer = g.scope('encoder', 'layer', i);
    const self = layer.scope('attention');
    const isByRow = hasLooked;
    const pickText = isByRow && !hasRead ? byRow : asIs;
    const own = [queries, text].flatMap((stream) => {
      if (stream === undefined) return [];
      const made = keyValues(self.scope('attention'), stream, setting);
      return [stream === text ? eachOf(made, pickText) : made];
    });
    const past = pass.past?.[i];
    const memory = concatKeyValues(past === undefined ? own : [past, ...own]);
    cache.push(memory);
    const maskOf = (mask: Tensor | undefined): Tensor | undefined => (mask !== undefined && isByRow ? byRow(mask) : mask);
    if (i === layers - 1 && pass.wanted !== 'both') {
      if (pass.wanted === 'queries') text = undefined;
      else queries = undefined;
      if (pass.wanted === 'first-token' && text !== undefined) text = slice(text, 1, 0, 1);
    }
    let looked: Tensor | null = null;
    if (queries !== undefined) {
      queries = attend(self, queries, memory, maskOf(pass.queryMask), setting).x;
      const image = pass.image?.[i];
      if (image !== undefined) {
        const cross = attend(layer.scope('crossattention'), queries, image, undefined, setting, hasLooked ? asIs : byRow);
        [queries, looked, hasLooked] = [cross.x, cross.probabilities, true];
      }
      queries = feedForward(layer, queries, '_query', setting);
    }
    if (text !== undefined) {
      text = attend(self, text, memory, maskOf(pass.textMask), setting, pickText).x;
      hasRead ||= isByRow;
      text = feedForward(layer, text, '', setting);
    }
    crossAttentions.push(looked);
  }
  const left = [queries, text].filter((stream) => stream !== undefined);
  const output = left.length > 1 ? concat(left, 1) : left[0];
  if (output === undefined) throw new QuerentError('QRT_GRAPH_OP', `A Q-Former pass was asked for its ${pass.wanted}, which it was not given.`);
  return { output, keyValues: cache, crossAttentions };
}

/** Of the norm that LAVIS puts over a frozen tower (`ln_vision`). */
const VISION_NORM_EPSILON = 1e-5;

/**
 * The keys and values of an image's features [batch, patches, width] in the layers that look at them, undefined in the others: once an
 * image, however many passes look.
 *
 * @param g the root scope, `root` the one in which the layers stand
 * @returns a function that throws QuerentError QRT_GRAPH_OP when the features are not as wide as the config says.
 */
export function imageMemory(g: Scope, root: Scope, setting: Setting): (features: Tensor) => readonly (KeyValues | undefined)[] {
  const { config } = setting;
  const images = new Map<string, readonly (KeyValues | undefined)[]>();
  return (features) => {
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
  };
}

/** Where a fresh `…_query…` parameter starts from: the text's of the same name (LAVIS). */
export function twinOf(name: string): string | undefined {
  return /\.(intermediate|output)_query\./.test(name) ? name.replace('_query.', '.') : undefined;
}
