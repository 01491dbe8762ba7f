/**
 * A model's `config.json`: HuggingFace's `Blip2Config`, where each part's `model_type` names the plugin that builds it.
 * A mixed recipe (a SigLIP encoder with a Qwen2 language model) is the same file with other `model_type`s; `from` says where
 * a frozen part's weights lie. Keys that HuggingFace writes and nothing here reads are left alone.
 */
import { validate } from './config.ts';
import type { ValidateOptions } from './config.ts';
import type { JsonSchema } from './contracts/plugin.ts';

/** One part's config: `model_type`, perhaps `from`, and the part's own keys, which its plugin's schema checks. */
export interface PartConfig {
  /** The plugin's name. */
  readonly model_type: string;
  /** A folder relative to this document, or a repository id: where the part's config and weights come from. */
  readonly from?: string;
  readonly [key: string]: unknown;
}

/** A model's `config.json`. */
export interface Recipe {
  /** `blip-2` in HuggingFace's files. */
  readonly model_type?: string;
  readonly architectures?: readonly string[];
  readonly vision_config: PartConfig;
  readonly qformer_config: PartConfig;
  /** Absent in a stage-1 (retrieval) model. */
  readonly text_config?: PartConfig;
  /** How many learned queries the bridge has. */
  readonly num_query_tokens?: number;
  /** Width of the space that images and texts share (ITC). */
  readonly image_text_hidden_size?: number;
  /** The id that stands for one query in `input_ids`. */
  readonly image_token_index?: number;
  readonly [key: string]: unknown;
}

const part = (what: string, fallback: string): JsonSchema => ({
  type: 'object',
  description: what,
  properties: {
    model_type: { type: 'string', minLength: 1, description: `The plugin's name. ${fallback}` },
    from: { type: 'string', minLength: 1, description: 'A folder relative to this document, or a repository id, that holds the weights.' },
  },
  required: ['model_type'],
});

/** JSON Schema of {@link Recipe}. */
export const recipeSchema: JsonSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'A Querent model',
  type: 'object',
  properties: {
    $schema: { type: 'string', description: 'For editors.' },
    model_type: { type: 'string', description: '`blip-2` in files of HuggingFace.' },
    architectures: { type: 'array', items: { type: 'string' }, description: 'The class that Python would open it with.' },
    vision_config: part('The frozen image encoder.', 'For instance siglip_vision_model.'),
    qformer_config: part('The bridge.', 'For instance blip_2_qformer.'),
    text_config: part('The frozen language model; absent in a retrieval model.', 'For instance opt.'),
    num_query_tokens: { type: 'integer', minimum: 1, maximum: 65536, description: 'How many learned queries the bridge has.' },
    image_text_hidden_size: { type: 'integer', minimum: 1, maximum: 65536, description: 'Width of the space that images and texts share.' },
    image_token_index: { type: ['integer', 'null'], description: 'The id that stands for one query in input_ids.' },
  },
  required: ['vision_config', 'qformer_config'],
};

/** What HuggingFace's classes assume where a part's `model_type` is left out of a `blip-2` file. */
const BLIP2_PARTS = { vision_config: 'blip_2_vision_model', qformer_config: 'blip_2_qformer', text_config: 'opt' } as const;

/**
 * Checks a `config.json`. In a file of model_type `blip-2` a part without `model_type` has HuggingFace's default.
 *
 * @throws QuerentError QRT_CONFIG_INVALID with all mistakes at once.
 */
export function parseRecipe(value: unknown, options: ValidateOptions = {}): Recipe {
  let given = value;
  if (isObject(given) && given['model_type'] === 'blip-2') {
    const filled: Record<string, unknown> = { ...given };
    for (const [key, model_type] of Object.entries(BLIP2_PARTS)) {
      const config = filled[key];
      if (isObject(config) && config['model_type'] === undefined) filled[key] = { model_type, ...config };
    }
    given = filled;
  }
  return validate<Recipe>(recipeSchema, given, { what: 'the model config', ...options });
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
