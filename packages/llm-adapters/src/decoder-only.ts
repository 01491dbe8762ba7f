/**
 * What all decoder-only models share as a language model: where the soft prompt stands, the loss on the labels, positions counted from
 * the mask (HF `prepare_inputs_for_generation`), and the layout of keys and values. A family (`llama.ts`, `opt.ts`) gives the trunk.
 * The same story for encoder-decoders is `encoder-decoder.ts`.
 */
import type {
  DecodeInputs,
  DecodeResult,
  Dim,
  LanguageModelPlugin,
  LanguageModelPrompt,
  LanguageModelTargets,
  PrefillResult,
  Scope,
  SpecialTokens,
  Tensor,
} from '@querent/core';
import { addDims, cast, concat, cumSum, greater, mul, range, reshape, slice, sub, unsqueeze } from '@querent/graph';
import type { Memory } from './attention.ts';
import { cachedMask, causalMask, forget, paddingMask, remember } from './attention.ts';
import { labelIds, labelLoss } from './label-loss.ts';
import { promptParts, writeCache } from './prompt.ts';

/** Where a trunk's tokens stand and what they may see. */
export interface TrunkContext {
  /** int64 [batch, tokens]: real tokens before this one; -1 at padding. */
  readonly positions: Tensor;
  /** Additive, broadcasts to [batch, heads, tokens, keys]. */
  readonly mask: Tensor;
  readonly memory: Memory;
  /** Is shown what enters each layer, [batch, tokens, hidden]: for those who compare or probe. */
  readonly trace?: (hidden: Tensor) => void;
}

/** What a family supplies. */
export interface DecoderOnlyFamily<Config> {
  readonly name: string;
  readonly configSchema: Readonly<Record<string, unknown>>;
  /** What HuggingFace's class assumes where a config is silent. */
  readonly defaults?: Readonly<Record<string, unknown>>;
  width(config: Config): number;
  vocabulary(config: Config): number;
  specialTokens(config: Config): SpecialTokens;
  layers(config: Config): number;
  /** Heads of keys and values. */
  keyHeads(config: Config): number;
  headWidth(config: Config): number;
  /** How many tokens back a token sees; undefined: all. */
  window?(config: Config): number | undefined;
  embed(g: Scope, inputIds: Tensor, config: Config): Tensor;
  /** Embeddings [batch, tokens, hidden] → final hidden states, normed. */
  trunk(g: Scope, x: Tensor, context: TrunkContext, config: Config): Tensor;
  /** Hidden states [..., hidden] → logits [..., vocabulary]. */
  head(g: Scope, hidden: Tensor, config: Config): Tensor;
}

/** A language model of a decoder-only family. */
export function decoderOnly<Config>(family: DecoderOnlyFamily<Config>): LanguageModelPlugin<Config> {
  return {
    kind: 'language-model',
    name: family.name,
    contract: 1,
    architecture: 'decoder-only',
    configSchema: family.configSchema,
    ...(family.defaults === undefined ? {} : { defaults: family.defaults }),
    promptPadding: 'left',
    width: family.width,
    vocabulary: family.vocabulary,
    specialTokens: family.specialTokens,
    embed: family.embed,

    loss(g, inputs, config, options) {
      const sequence = sequenceOf(family, g, inputs, config);
      const hidden = decoderOnlyHidden(family, g, sequence, forget, config); // [batch, tokens, hidden]
      const first = addDims(sequence.tokens, -1); // the position that predicts the first label
      const predicting = slice(hidden, 1, first, addDims(hidden.shape[1]!, -1)); // [batch, labels, hidden]
      return labelLoss(family.head(g, predicting, config), inputs.labels, options);
    },

    caches: (config) =>
      Array.from({ length: family.layers(config) }, (_, layer) =>
        (['key', 'value'] as const).map((part) => ({
          name: `${layer}.${part}`,
          kind: 'self' as const,
          heads: family.keyHeads(config),
          headWidth: family.headWidth(config),
        })),
      ).flat(),

    prefill(g, inputs, config): PrefillResult {
      const sequence = sequenceOf(family, g, inputs, config);
      const present = new Map<string, Tensor>();
      const hidden = decoderOnlyHidden(family, g, sequence, remember(present), config);
      const last = slice(hidden, 1, -1, Infinity); // [batch, 1, hidden]: prompts are padded on the left
      return { logits: family.head(g, reshape(last, [last.shape[0]!, last.shape[2]!]), config), present };
    },

    decode(g, inputs, config): DecodeResult {
      const present = new Map<string, Tensor>();
      const x = family.embed(g, inputs.inputIds, config); // [batch, 1, hidden]
      const context: TrunkContext = {
        positions: inputs.positionIds,
        mask: paddingMask(windowed(inputs, family.window?.(config))), // [batch, 1, 1, cache]
        memory: (layer, key, value) => [
          writeCache(inputs, present, `${layer}.key`, key),
          writeCache(inputs, present, `${layer}.value`, value),
        ],
      };
      const hidden = family.trunk(g, x, context, config);
      return { logits: family.head(g, reshape(hidden, [hidden.shape[0]!, hidden.shape[2]!]), config), present };
    },

    extend(g, inputs, config): DecodeResult {
      const present = new Map<string, Tensor>();
      const text = family.embed(g, inputs.inputIds, config); // [batch, tokens, hidden]
      const x = inputs.softPrompt === undefined ? text : concat([inputs.softPrompt, text], 1); // [batch, queries + tokens, hidden]
      const context: TrunkContext = {
        positions: inputs.positionIds,
        mask: cachedMask(inputs.attentionMask, inputs.writeIndices, x.shape[1]!, family.window?.(config)),
        memory: (layer, key, value) => [
          writeCache(inputs, present, `${layer}.key`, key),
          writeCache(inputs, present, `${layer}.value`, value),
        ],
      };
      const last = slice(family.trunk(g, x, context, config), 1, -1, Infinity); // [batch, 1, hidden]
      return { logits: family.head(g, reshape(last, [last.shape[0]!, last.shape[2]!]), config), present };
    },
  };
}

/** Embeddings with their mask, and how many of them stand before the first label. */
export interface EmbeddedSequence {
  /** [batch, tokens (+ labels), hidden] */
  readonly embeddings: Tensor;
  /** int64 [batch, tokens (+ labels)] */
  readonly mask: Tensor;
  /** queries + prompt */
  readonly tokens: Dim;
}

/** [soft prompt ; prompt ; labels], as far as they are there. */
function sequenceOf<Config>(
  family: DecoderOnlyFamily<Config>,
  g: Scope,
  inputs: LanguageModelPrompt & Partial<Pick<LanguageModelTargets, 'labels'>>,
  config: Config,
): EmbeddedSequence {
  const parts = promptParts(g, inputs, (ids) => family.embed(g, ids, config));
  const tokens = parts.embeddings.reduce<Dim>((sum, part) => addDims(sum, part.shape[1]!), 0);
  if (inputs.labels !== undefined) {
    const { ids, mask } = labelIds(inputs.labels, 0);
    parts.embeddings.push(family.embed(g, ids, config));
    parts.masks.push(mask);
  }
  return { embeddings: concat(parts.embeddings, 1), mask: concat(parts.masks, 1), tokens };
}

/** Final hidden states of a whole sequence [batch, tokens, hidden]. */
export function decoderOnlyHidden<Config>(
  family: DecoderOnlyFamily<Config>,
  g: Scope,
  sequence: Pick<EmbeddedSequence, 'embeddings' | 'mask'>,
  memory: Memory,
  config: Config,
): Tensor {
  const { embeddings, mask } = sequence;
  const positions = sub(mul(cumSum(mask, 1), mask), 1); // [batch, tokens]
  return family.trunk(g, embeddings, { positions, mask: causalMask(mask, family.window?.(config)), memory }, config);
}

/** The mask less the slots that a sliding window has left behind: slots are in the order of tokens. */
function windowed(inputs: DecodeInputs, window: number | undefined): Tensor {
  if (window === undefined) return inputs.attentionMask;
  const slots = unsqueeze(range(inputs.attentionMask, inputs.attentionMask.shape[1]!), [0]); // [1, cache]
  const isNear = greater(slots, sub(unsqueeze(inputs.writeIndices, [1]), window)); // [batch, cache]
  return mul(inputs.attentionMask, cast(isNear, 'int64'));
}
