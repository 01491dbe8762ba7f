/**
 * A language model's graphs for decoding, with public names: `prefill` reads [soft prompt ; prompt], `decode` says one token more, and
 * `extend` is both at once for models that can.
 * Names are those of HF and Optimum: `input_ids`, `attention_mask`, `past_key_values.0.key` in, `present.0.key` and `logits` out.
 */
import type { Graph, GraphScope, LanguageModelPlugin, LanguageModelPrompt, Scope, Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import { addDims, createGraph } from '@querent/graph';

export interface PrefillGraphOptions {
  /** Where the model stands in the checkpoint, for instance `language_model`; absent: at its root. */
  readonly prefix?: string;
  /** Is there a `soft_prompt` [batch, queries, hidden]? Default true. */
  readonly softPrompt?: boolean;
  /** Are there `input_ids` and `attention_mask` [batch, prompt]? Default true. */
  readonly prompt?: boolean;
}

const scopeAt = (g: GraphScope, prefix: string | undefined): Scope => (prefix === undefined || prefix === '' ? g : g.scope(prefix));

/** Inputs `soft_prompt`, `input_ids`, `attention_mask`; outputs `present.*` and, for decoder-only models, `logits` [batch, vocabulary]. */
export function prefillGraph<Config>(model: LanguageModelPlugin<Config>, config: Config, options: PrefillGraphOptions = {}): Graph {
  const g = createGraph(`${model.name}.prefill`);
  const inputs: LanguageModelPrompt = {
    ...(options.softPrompt === false ? {} : { softPrompt: g.input('soft_prompt', 'float32', ['batch', 'queries', model.width(config)]) }),
    ...(options.prompt === false
      ? {}
      : { promptIds: g.input('input_ids', 'int64', ['batch', 'prompt']), promptMask: g.input('attention_mask', 'int64', ['batch', 'prompt']) }),
  };
  const { logits, present } = model.prefill(scopeAt(g, options.prefix), inputs, config);
  if (logits !== null) g.output('logits', logits);
  for (const [name, tensor] of present) g.output(`present.${name}`, tensor);
  return g.graph;
}

/**
 * Inputs `input_ids` and `position_ids` [batch, 1], `attention_mask` [batch, cache], `write_indices` [batch], `past_key_values.*`, and
 * `encoder_attention_mask` [batch, source] where there is an encoder; outputs `logits` [batch, vocabulary] and `present.*`, which may be
 * written over their past.
 */
export function decodeGraph<Config>(model: LanguageModelPlugin<Config>, config: Config, options: Pick<PrefillGraphOptions, 'prefix'> = {}): Graph {
  const g = createGraph(`${model.name}.decode`);
  const past = new Map<string, Tensor>();
  for (const { name, kind, heads, headWidth } of model.caches(config)) {
    past.set(name, g.input(`past_key_values.${name}`, 'float32', ['batch', heads, kind === 'self' ? 'cache' : 'source', headWidth]));
  }
  const { logits, present } = model.decode(
    scopeAt(g, options.prefix),
    {
      inputIds: g.input('input_ids', 'int64', ['batch', 1]),
      positionIds: g.input('position_ids', 'int64', ['batch', 1]),
      attentionMask: g.input('attention_mask', 'int64', ['batch', 'cache']),
      writeIndices: g.input('write_indices', 'int64', ['batch']),
      past,
      ...(model.architecture === 'encoder-decoder' ? { encoderMask: g.input('encoder_attention_mask', 'int64', ['batch', 'source']) } : {}),
    },
    config,
  );
  g.output('logits', logits);
  for (const [name, tensor] of present) g.output(`present.${name}`, tensor);
  return g.graph;
}

/**
 * Inputs `soft_prompt` [batch, queries, hidden] and `input_ids` [batch, tokens], either of them empty in a run; `position_ids` [batch, queries +
 * tokens], `attention_mask` [batch, cache], `write_indices` [batch] and `past_key_values.*`; outputs as {@link decodeGraph}'s. It takes the
 * place of both graphs in `generate`.
 *
 * @throws QuerentError QRT_MODEL_UNSUPPORTED for a model that has two graphs.
 */
export function extendGraph<Config>(model: LanguageModelPlugin<Config>, config: Config, options: Pick<PrefillGraphOptions, 'prefix' | 'softPrompt'> = {}): Graph {
  if (model.extend === undefined) throw new QuerentError('QRT_MODEL_UNSUPPORTED', `${model.name} has no graph that both reads and writes.`, { fix: 'Use prefillGraph and decodeGraph.' });
  const g = createGraph(`${model.name}.extend`);
  const past = new Map<string, Tensor>();
  for (const { name, heads, headWidth } of model.caches(config)) past.set(name, g.input(`past_key_values.${name}`, 'float32', ['batch', heads, 'cache', headWidth]));
  const hasQueries = options.softPrompt !== false;
  const { logits, present } = model.extend(
    scopeAt(g, options.prefix),
    {
      ...(hasQueries ? { softPrompt: g.input('soft_prompt', 'float32', ['batch', 'queries', model.width(config)]) } : {}),
      inputIds: g.input('input_ids', 'int64', ['batch', 'tokens']),
      positionIds: g.input('position_ids', 'int64', ['batch', hasQueries ? addDims('queries', 'tokens') : 'tokens']),
      attentionMask: g.input('attention_mask', 'int64', ['batch', 'cache']),
      writeIndices: g.input('write_indices', 'int64', ['batch']),
      past,
    },
    config,
  );
  g.output('logits', logits);
  for (const [name, tensor] of present) g.output(`present.${name}`, tensor);
  return g.graph;
}
