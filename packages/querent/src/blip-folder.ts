/**
 * A folder of the original BLIP (HF `BlipForConditionalGeneration`, `BlipForImageTextRetrieval`) as the parts that a model is made of: its
 * vision tower is the encoder, its text decoder the language model, its matching the bridge. The one text config serves both.
 */
import type { JsonObject, ModelFolder } from '@querent/hub';
import { isJsonObject } from '@querent/hub';
import { BLIP_TEXT_DEFAULTS } from '@querent/llm-adapters';

/** Where the decoder stands in BLIP's checkpoints, and where a language model stands in a whole model's. */
const DECODER = 'text_decoder.';
const LANGUAGE_MODEL = 'language_model.';

/** A captioner has a decoder; a matcher has none. */
const MATCHER = 'BlipForImageTextRetrieval';

const VISION_WIDTH = 768;

/** BLIP's configs as parts, with what HuggingFace's classes assume where the file is silent. */
export function blipConfigs(config: JsonObject): { readonly vision_config: JsonObject; readonly qformer_config: JsonObject; readonly text_config: JsonObject } {
  const given = (key: string): JsonObject => (isJsonObject(config[key]) ? config[key] : {});
  const vision: JsonObject = { ...given('vision_config'), model_type: 'blip_vision_model' };
  // As `BlipConfig` does: the decoder looks at features of the tower's width, whatever its own config says.
  const width = typeof vision['hidden_size'] === 'number' ? vision['hidden_size'] : VISION_WIDTH;
  const text = { ...BLIP_TEXT_DEFAULTS, ...given('text_config'), model_type: 'blip_text_model', encoder_hidden_size: width };
  return { vision_config: vision, qformer_config: text, text_config: text };
}

/** Any other model's folder as it is. */
export function blipAsParts(folder: ModelFolder): ModelFolder {
  const { config } = folder;
  if (config['model_type'] !== 'blip') return folder;
  const { text_config: text, ...rest } = blipConfigs(config);
  const isMatcher = Array.isArray(config['architectures']) && config['architectures'].includes(MATCHER);
  const { text_config: _, ...others } = config;
  return {
    ...folder,
    config: { ...others, ...rest, ...(isMatcher ? {} : { text_config: text }) },
    parameters: new Map([...folder.parameters].map(([name, tensor]) => [name.startsWith(DECODER) ? LANGUAGE_MODEL + name.slice(DECODER.length) : name, tensor])),
  };
}
