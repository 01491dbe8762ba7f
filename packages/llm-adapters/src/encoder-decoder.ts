/**
 * What encoder-decoder models share as a language model: the soft prompt stands before the encoder's text, the labels are the decoder's
 * target (a prefix-LM loss), and the memory has two halves: the decoder's own, which grows, and the encoder's, which is written once.
 * The same story for decoder-only models is `decoder-only.ts`.
 */
import type { DecodeResult, LanguageModelPlugin, LanguageModelPrompt, PrefillResult, Scope, Shape, SpecialTokens, Tensor } from '@querent/core';
import { QuerentError, int64 } from '@querent/core';
import { concat, constant, expand, range, reshape, slice, unsqueeze } from '@querent/graph';
import type { Memory } from './attention.ts';
import { causalMask, forget, ones, paddingMask } from './attention.ts';
import { labelIds, labelLoss } from './label-loss.ts';
import { promptParts, writeCache } from './prompt.ts';

/** What a decoder reads beside its own tokens. */
export interface DecoderContext {
  /** int64 [batch or 1, tokens]: where the new tokens stand in the text. */
  readonly positions: Tensor;
  /** int64 [keys]: where the tokens stand that they attend to. */
  readonly keyPositions: Tensor;
  /** Additive, broadcasts to [batch, heads, tokens, keys]. */
  readonly mask: Tensor;
  readonly memory: Memory;
  /** Keys and values of the encoder's output for a layer, as {@link EncoderDecoderFamily.crossMemory} makes them. */
  readonly cross: (layer: number) => readonly [Tensor, Tensor];
  /** Additive, broadcasts to [batch, heads, tokens, source]. */
  readonly crossMask: Tensor;
}

/** What a family supplies. */
export interface EncoderDecoderFamily<Config> {
  readonly name: string;
  readonly configSchema: Readonly<Record<string, unknown>>;
  /** What HuggingFace's class assumes where a config is silent. */
  readonly defaults?: Readonly<Record<string, unknown>>;
  /** {@link LanguageModelPlugin.fit} */
  fit?(config: Config, has: (parameterName: string) => boolean): Config;
  width(config: Config): number;
  vocabulary(config: Config): number;
  specialTokens(config: Config): SpecialTokens;
  decoderLayers(config: Config): number;
  heads(config: Config): number;
  headWidth(config: Config): number;
  embed(g: Scope, inputIds: Tensor, config: Config): Tensor;
  /** Embeddings [batch, source, hidden] and int64 mask [batch, source] → encoder states, normed. */
  encode(g: Scope, x: Tensor, mask: Tensor, config: Config): Tensor;
  /** Keys and values [batch, heads, source, headWidth] that decoder layer `layer` reads from encoder states. */
  crossMemory(g: Scope, states: Tensor, layer: number, config: Config): readonly [Tensor, Tensor];
  /** Decoder embeddings [batch, tokens, hidden] → final hidden states, normed. */
  decode(g: Scope, x: Tensor, context: DecoderContext, config: Config): Tensor;
  /** Hidden states [..., hidden] → logits [..., vocabulary]. */
  head(g: Scope, hidden: Tensor, config: Config): Tensor;
}

/** A language model of an encoder-decoder family. */
export function encoderDecoder<Config>(family: EncoderDecoderFamily<Config>): LanguageModelPlugin<Config> {
  return {
    kind: 'language-model',
    name: family.name,
    contract: 1,
    architecture: 'encoder-decoder',
    configSchema: family.configSchema,
    ...(family.defaults === undefined ? {} : { defaults: family.defaults }),
    ...(family.fit === undefined ? {} : { fit: family.fit }),
    promptPadding: 'right',
    width: family.width,
    vocabulary: family.vocabulary,
    specialTokens: family.specialTokens,
    embed: family.embed,

    loss(g, inputs, config, options) {
      const { states, mask } = encodePrompt(family, g, inputs, config);
      const tokens = inputs.labels.shape[1]!;
      const shifted = shiftRight(family, inputs.labels, config); // [batch, labels]
      const positions = range(shifted, tokens);
      const context: DecoderContext = {
        positions: unsqueeze(positions, [0]),
        keyPositions: positions,
        mask: causalMask(ones(shifted, [1, tokens])), // what follows the end is never read, so its padding needs no mask
        memory: forget,
        cross: (layer) => family.crossMemory(g, states, layer, config),
        crossMask: paddingMask(mask),
      };
      const hidden = family.decode(g, family.embed(g, shifted, config), context, config); // [batch, labels, hidden]
      return labelLoss(family.head(g, hidden, config), inputs.labels, options);
    },

    caches: (config) =>
      Array.from({ length: family.decoderLayers(config) }, (_, layer) =>
        (['decoder', 'encoder'] as const).flatMap((side) =>
          (['key', 'value'] as const).map((part) => ({
            name: `${layer}.${side}.${part}`,
            kind: side === 'decoder' ? ('self' as const) : ('cross' as const),
            heads: family.heads(config),
            headWidth: family.headWidth(config),
          })),
        ),
      ).flat(),

    prefill(g, inputs, config): PrefillResult {
      const { states } = encodePrompt(family, g, inputs, config);
      const present = new Map<string, Tensor>();
      for (let layer = 0; layer < family.decoderLayers(config); layer++) {
        const [key, value] = family.crossMemory(g, states, layer, config);
        present.set(`${layer}.encoder.key`, key);
        present.set(`${layer}.encoder.value`, value);
      }
      return { logits: null, present };
    },

    decode(g, inputs, config): DecodeResult {
      if (inputs.encoderMask === undefined) throw new QuerentError('QRT_USAGE', `The decode graph of ${family.name} needs an encoderMask.`);
      const present = new Map<string, Tensor>();
      const context: DecoderContext = {
        positions: inputs.positionIds,
        keyPositions: range(inputs.attentionMask, inputs.attentionMask.shape[1]!),
        mask: paddingMask(inputs.attentionMask),
        memory: (layer, key, value) => [
          writeCache(inputs, present, `${layer}.decoder.key`, key),
          writeCache(inputs, present, `${layer}.decoder.value`, value),
        ],
        cross: (layer) => [pastOf(inputs.past, `${layer}.encoder.key`), pastOf(inputs.past, `${layer}.encoder.value`)],
        crossMask: paddingMask(inputs.encoderMask),
      };
      const hidden = family.decode(g, family.embed(g, inputs.inputIds, config), context, config); // [batch, 1, hidden]
      return { logits: family.head(g, reshape(hidden, [hidden.shape[0]!, hidden.shape[2]!]), config), present };
    },
  };
}

/** Encoder states of [soft prompt ; prompt], and which of them are real. */
export function encodePrompt<Config>(
  family: EncoderDecoderFamily<Config>,
  g: Scope,
  inputs: LanguageModelPrompt,
  config: Config,
): { readonly states: Tensor; readonly mask: Tensor } {
  const { embeddings, masks } = promptParts(g, inputs, (ids) => family.embed(g, ids, config));
  const mask = concat(masks, 1); // [batch, source]
  return { states: family.encode(g, concat(embeddings, 1), mask, config), mask };
}

/** The decoder's input: the start token, then the labels but the last; -100 becomes the padding id (HF `_shift_right`). */
function shiftRight<Config>(family: EncoderDecoderFamily<Config>, labels: Tensor, config: Config): Tensor {
  const { decoderStart, pad } = family.specialTokens(config);
  if (decoderStart === undefined) {
    throw new QuerentError('QRT_CONFIG_INVALID', `The config of ${family.name} names neither decoder_start_token_id nor pad_token_id, so nothing starts the decoder.`, {
      fix: 'Add decoder_start_token_id to config.json (T5 uses 0).',
    });
  }
  const batchByOne: Shape = [labels.shape[0]!, 1];
  const start = expand(constant(labels, int64([1, 1], [decoderStart])), batchByOne);
  return concat([start, slice(labelIds(labels, pad ?? decoderStart).ids, 1, 0, -1)], 1);
}

function pastOf(past: ReadonlyMap<string, Tensor>, name: string): Tensor {
  const tensor = past.get(name);
  if (tensor === undefined) throw new QuerentError('QRT_USAGE', `The decode graph was given no cache called ${name}.`, { details: [...past.keys()] });
  return tensor;
}
