/**
 * The text half of BLIP (Li 2022; HF `BlipTextLMHeadModel`, `BlipTextModel`): BERT whose layers look at the image between their
 * self-attention and their feed-forward. As a decoder it sees the past only and writes captions; as an encoder it sees the whole text
 * and says whether it belongs to the image (`blip-matching.ts`). The image's features are read as they are: they are the soft prompt, and
 * no projection stands before them. Names are the checkpoint's: `text_decoder.bert.encoder.layer.0.crossattention.self.key.weight`.
 */
import type { DecodeResult, LanguageModelPlugin, LanguageModelPrompt, PrefillResult, Scope, SpecialTokens, Tensor } from '@querent/core';
import { QuerentError, int64 } from '@querent/core';
import { add, addDims, clip, concat, constant, cumSum, embedding, expand, gather, layerNorm, mul, reshape, slice, sub } from '@querent/graph';
import type { BertLayerConfig, BertLayerContext } from './bert.ts';
import { bertCrossMemory, bertEpsilon, bertLayerProperties, bertLayers, bertPredictions, bertWords } from './bert.ts';
import { causalMask, forget, ones, paddingMask, remember } from './attention.ts';
import { labelIds, labelLoss } from './label-loss.ts';
import { writeCache } from './prompt.ts';
import type { TokenConfig } from './special-tokens.ts';
import { tokenProperties } from './special-tokens.ts';

/** HF `BlipTextConfig`, as far as it is read. */
export interface BlipTextConfig extends BertLayerConfig, TokenConfig {
  /** Width of the image's features. */
  readonly encoder_hidden_size: number;
  /** Ends a caption. */
  readonly sep_token_id?: number | null;
  /** Share of the target spread evenly over the vocabulary in the loss. */
  readonly label_smoothing?: number;
}

export const blipTextConfigSchema: Readonly<Record<string, unknown>> = {
  type: 'object',
  required: ['vocab_size', 'hidden_size', 'num_hidden_layers', 'num_attention_heads', 'intermediate_size', 'max_position_embeddings', 'encoder_hidden_size'],
  properties: {
    ...bertLayerProperties,
    ...tokenProperties,
    encoder_hidden_size: { type: 'integer', minimum: 1, description: "Width of the image's features." },
    sep_token_id: { type: ['integer', 'null'], minimum: 0, description: 'Ends a caption. Default 102.' },
    label_smoothing: { type: 'number', minimum: 0, maximum: 1, description: 'Share of the target spread over the vocabulary in the loss. Default 0.' },
  },
};

/** What HuggingFace's class assumes where a config is silent. */
export const BLIP_TEXT_DEFAULTS: BlipTextConfig = {
  vocab_size: 30524,
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 8,
  intermediate_size: 3072,
  max_position_embeddings: 512,
  encoder_hidden_size: 768,
};

/** Of BLIP's tokenizer: [DEC], which begins a caption, and [SEP], which ends it. */
const DEC = 30522;
const SEP = 102;

const beginOf = (config: BlipTextConfig): number => config.bos_token_id ?? DEC;

/** A caption ends at [SEP], whatever `eos_token_id` says (HF `BlipForConditionalGeneration.generate`). */
function specialTokens(config: BlipTextConfig): SpecialTokens {
  return { bos: beginOf(config), eos: [config.sep_token_id ?? SEP], pad: config.pad_token_id ?? 0, decoderStart: beginOf(config) };
}

/** Words and positions, normed (HF `BlipTextEmbeddings`). `g` stands where `embeddings` does; int64 positions [batch or 1, tokens]. */
export function blipTextEmbeddings(g: Scope, inputIds: Tensor, positions: Tensor, config: BlipTextConfig): Tensor {
  const words = gather(bertWords(g, config), inputIds); // [batch, tokens, hidden]
  const table = embedding(g.scope('embeddings', 'position_embeddings'), clip(positions, 0), config.max_position_embeddings, config.hidden_size);
  return layerNorm(g.scope('embeddings', 'LayerNorm'), add(words, table), bertEpsilon(config));
}

/** Final hidden states of a text [batch, tokens, hidden] that reads `features`, seeing the past only. */
function decoderHidden(g: Scope, ids: Tensor, mask: Tensor, features: Tensor, memory: BertLayerContext['memory'], config: BlipTextConfig): Tensor {
  const bert = g.scope('bert');
  const positions = sub(mul(cumSum(mask, 1), mask), 1); // -1 at padding
  const context: BertLayerContext = { mask: causalMask(mask), memory, cross: (layer) => bertCrossMemory(bert, features, layer, config) };
  return bertLayers(bert, blipTextEmbeddings(bert, ids, positions, config), context, config);
}

function head(g: Scope, hidden: Tensor, config: BlipTextConfig): Tensor {
  return bertPredictions(g.scope('cls', 'predictions'), hidden, bertWords(g.scope('bert'), config), config);
}

/**
 * Logits of every position of a text, float32 [batch, tokens, vocabulary] (HF `BlipTextLMHeadModel.forward`).
 *
 * @param features float32 [batch, patches, width]
 * @param text int64 [batch, tokens] both
 */
export function blipTextLogits(g: Scope, features: Tensor, text: { readonly inputIds: Tensor; readonly attentionMask: Tensor }, config: BlipTextConfig): Tensor {
  return head(g, decoderHidden(g, text.inputIds, text.attentionMask, features, forget, config), config);
}

/** The image's features: what this model is asked about. @throws QuerentError QRT_USAGE when they are not there. */
function featuresOf(g: Scope, inputs: LanguageModelPrompt): Tensor {
  if (inputs.softPrompt !== undefined) return inputs.softPrompt;
  throw new QuerentError('QRT_USAGE', `Graph ${g.graph.name}: BLIP's text decoder was given no image.`, { fix: 'Give it the features of an image as softPrompt.' });
}

const blipText: LanguageModelPlugin<BlipTextConfig> = {
  kind: 'language-model',
  name: 'blip_text_model',
  contract: 1,
  architecture: 'encoder-decoder',
  configSchema: blipTextConfigSchema,
  defaults: { ...BLIP_TEXT_DEFAULTS },
  promptPadding: 'left',
  width: (config) => config.encoder_hidden_size,
  vocabulary: (config) => config.vocab_size,
  specialTokens,
  framePrompt: (ids, config) => [beginOf(config), ...ids.slice(1, -1)],
  embed: (g, inputIds, config) => gather(bertWords(g.scope('bert'), config), inputIds),

  loss(g, inputs, config, options) {
    const features = featuresOf(g, inputs);
    const { labels } = inputs;
    const start = expand(constant(labels, int64([1, 1], [beginOf(config)])), [labels.shape[0]!, 1]);
    const prompt = inputs.promptIds ?? start; // [batch, prompt]
    const { ids, mask } = labelIds(labels, config.pad_token_id ?? 0);
    const promptMask = inputs.promptIds === undefined ? ones(start, start.shape) : (inputs.promptMask ?? ones(prompt, prompt.shape));
    const hidden = decoderHidden(g, concat([prompt, ids], 1), concat([promptMask, mask], 1), features, forget, config);
    const predicting = slice(hidden, 1, addDims(prompt.shape[1]!, -1), addDims(hidden.shape[1]!, -1)); // [batch, labels, hidden]
    return labelLoss(head(g, predicting, config), labels, { labelSmoothing: options?.labelSmoothing ?? config.label_smoothing ?? 0 });
  },

  caches: (config) =>
    Array.from({ length: config.num_hidden_layers }, (_, layer) =>
      (['decoder', 'encoder'] as const).flatMap((side) =>
        (['key', 'value'] as const).map((part) => ({
          name: `${layer}.${side}.${part}`,
          kind: side === 'decoder' ? ('self' as const) : ('cross' as const),
          heads: config.num_attention_heads,
          headWidth: config.hidden_size / config.num_attention_heads,
        })),
      ),
    ).flat(),

  prefill(g, inputs, config): PrefillResult {
    const features = featuresOf(g, inputs);
    const present = new Map<string, Tensor>();
    for (let layer = 0; layer < config.num_hidden_layers; layer++) {
      const [key, value] = bertCrossMemory(g.scope('bert'), features, layer, config);
      present.set(`${layer}.encoder.key`, key);
      present.set(`${layer}.encoder.value`, value);
    }
    const { promptIds } = inputs;
    if (promptIds === undefined) return { logits: null, present };
    const mask = inputs.promptMask ?? ones(promptIds, promptIds.shape);
    const hidden = decoderHidden(g, promptIds, mask, features, remember(present, 'decoder.'), config);
    const last = slice(hidden, 1, -1, Infinity); // [batch, 1, hidden]: prompts are padded on the left
    return { logits: head(g, reshape(last, [last.shape[0]!, config.hidden_size]), config), present };
  },

  decode(g, inputs, config): DecodeResult {
    const { encoderMask, past } = inputs;
    if (encoderMask === undefined) throw new QuerentError('QRT_USAGE', "The decode graph of BLIP's text decoder needs an encoderMask.");
    const cached = (name: string): Tensor => {
      const tensor = past.get(name);
      if (tensor === undefined) throw new QuerentError('QRT_USAGE', `The decode graph was given no cache called ${name}.`, { details: [...past.keys()] });
      return tensor;
    };
    const present = new Map<string, Tensor>();
    const bert = g.scope('bert');
    const context: BertLayerContext = {
      mask: paddingMask(inputs.attentionMask), // [batch, 1, 1, cache]
      memory: (layer, key, value) => [writeCache(inputs, present, `${layer}.decoder.key`, key), writeCache(inputs, present, `${layer}.decoder.value`, value)],
      cross: (layer) => [cached(`${layer}.encoder.key`), cached(`${layer}.encoder.value`)],
      crossMask: paddingMask(encoderMask),
    };
    const hidden = bertLayers(bert, blipTextEmbeddings(bert, inputs.inputIds, inputs.positionIds, config), context, config); // [batch, 1, hidden]
    return { logits: head(g, reshape(hidden, [hidden.shape[0]!, config.hidden_size]), config), present };
  },
};
export default blipText;
