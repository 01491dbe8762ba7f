/**
 * BLIP's matching of images and texts (Li 2022 §3.1; HF `BlipForImageTextRetrieval`) as a bridge: contrast compares one vector of the image
 * with one of the text (ITC); matching lets the text look at the image and asks whether they belong together (ITM). The features
 * themselves it hands on as they are: BLIP's decoder reads them without queries and without a projection (`blip-text.ts`).
 */
import type { Bridge, BridgePlugin, BridgeText, MatchOptions, Scope, Tensor } from '@querent/core';
import { add, div, gather, identity, linear, matMul, mul, range, reduceSum, slice, sqrt, squeeze, transpose, unsqueeze } from '@querent/graph';
import { forget, paddingMask } from './attention.ts';
import { bertCrossMemory, bertLayers } from './bert.ts';
import type { BlipTextConfig } from './blip-text.ts';
import { BLIP_TEXT_DEFAULTS, blipTextConfigSchema, blipTextEmbeddings } from './blip-text.ts';

/** HF `BlipTextConfig`, and the key of `BlipConfig` that the heads need. */
export interface BlipMatchingConfig extends BlipTextConfig {
  readonly model_type: string;
  /** Width of the space in which image and text are compared. */
  readonly image_text_hidden_size: number;
}

const INITIAL_TEMPERATURE = 0.07;

/** `x / |x|` over the last axis. */
function unit(x: Tensor): Tensor {
  return div(x, sqrt(add(reduceSum(mul(x, x), [-1]), 1e-24)));
}

/** What BLIP adds to the contract. */
export interface BlipMatching extends Bridge {
  readonly contrast: NonNullable<Bridge['contrast']>;
  readonly match: NonNullable<Bridge['match']>;
  /** Hidden states of a text, float32 [batch, tokens, hidden]; with features, of a text that looks at the image (HF `question_embeds`). */
  encodeText(text: BridgeText, features?: Tensor): Tensor;
}

/** BLIP's matching over the root scope `g`. Adds nothing to the graph until one of its functions is called. */
export function blipMatching(g: Scope, config: BlipMatchingConfig): BlipMatching {
  const root = g.scope('text_encoder');
  const first = (x: Tensor): Tensor => squeeze(slice(x, 1, 0, 1), [1]);

  function encodeText(text: BridgeText, features?: Tensor): Tensor {
    return encode(text, features === undefined ? undefined : (layer) => bertCrossMemory(root, features, layer, config));
  }

  function encode(text: BridgeText, cross: ((layer: number) => readonly [Tensor, Tensor]) | undefined): Tensor {
    const { inputIds, attentionMask } = text;
    const positions = unsqueeze(range(inputIds, inputIds.shape[1]!), [0]); // [1, tokens]
    const x = blipTextEmbeddings(root, inputIds, positions, config);
    return bertLayers(root, x, { mask: paddingMask(attentionMask), memory: forget, ...(cross === undefined ? {} : { cross }) }, config);
  }

  return {
    encode: (features) => ({ queries: identity(features), pastKeyValues: [], crossAttentions: [] }),
    encodeText,

    contrast: {
      /** The vector of [CLS]: one where a Q-Former has one a query. */
      imageFeatures: (features) => unit(linear(g.scope('vision_proj'), slice(features, 1, 0, 1), config.image_text_hidden_size)), // [batch, 1, shared]
      textFeatures: (text) => unit(linear(g.scope('text_proj'), first(encodeText(text)), config.image_text_hidden_size)), // [batch, shared]
      similarity: (images, texts) => matMul(squeeze(images, [1]), transpose(texts, [1, 0])), // [images, texts]
      temperature: () => g.parameter('temp', [], { initialiser: { kind: 'constant', value: INITIAL_TEMPERATURE } }),
    },

    match(features: Tensor, text: BridgeText, options: MatchOptions = {}): Tensor {
      const { images } = options;
      const seen = (layer: number): readonly [Tensor, Tensor] => {
        const [keys, values] = bertCrossMemory(root, features, layer, config); // once per image
        return images === undefined ? [keys, values] : [gather(keys, images), gather(values, images)];
      };
      return linear(g.scope('itm_head'), first(encode(text, seen)), 2); // [rows, 2]
    },
  };
}

/** `blip_text_model` as a bridge. */
const plugin: BridgePlugin<BlipMatchingConfig> = {
  kind: 'bridge',
  name: 'blip_text_model',
  contract: 1,
  configSchema: {
    ...blipTextConfigSchema,
    required: [],
    properties: {
      ...(blipTextConfigSchema['properties'] as Readonly<Record<string, unknown>>), // a JSON Schema's properties
      image_text_hidden_size: { type: 'integer', minimum: 1, description: 'Width of the space in which image and text are compared.' },
    },
  },
  defaults: { ...BLIP_TEXT_DEFAULTS, model_type: 'blip_text_model', image_text_hidden_size: 256 },
  topLevelKeys: ['image_text_hidden_size'],
  isProjected: false,
  width: (config) => config.encoder_hidden_size,
  queries: () => 1,
  build: blipMatching,
};
export default plugin;
