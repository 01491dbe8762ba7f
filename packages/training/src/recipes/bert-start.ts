/**
 * Stage 1 from a trained text encoder, as the paper's Q-Former begins as BERT: its folder is read here, what its weights become is the
 * bridge's own business (`BridgePlugin.start`). A BERT's tokenizer lacks [DEC], the token that a written caption begins with: it is added.
 */
import { dirname, join } from 'node:path';
import type { BridgeConfig, ParameterSet } from '@querent/core';
import { QuerentError } from '@querent/core';
import type { JsonObject, Tokenizer } from '@querent/hub';
import { createTokenizer, isJsonObject, openModelFolder, readJsonObject, readJsonObjectIfThere } from '@querent/hub';
import { randomAt } from '../data/batches.ts';
import type { TrainRecipeOptions } from '../train-recipe.ts';
import { trainedWeights } from './bridge-parts.ts';

/** What draws rows for tokens that the text encoder lacks, beside the other draws of a run. */
const STREAM = 6;
const DECODER_TOKEN = '[DEC]';

export interface OpenedBert {
  /** The recipe with the text encoder's sizes in its `qformer_config`, where that is silent. */
  readonly document: JsonObject;
  /** The bridge's weights to begin with; what is missing is drawn. @throws QuerentError QRT_CHECKPOINT_MISMATCH when they do not fit. */
  weights(config: BridgeConfig, seed: number): Promise<ParameterSet>;
}

/**
 * @throws QuerentError QRT_FILE and QRT_CHECKPOINT_FORMAT for a damaged folder, QRT_CONFIG_INVALID when the bridge does not begin as
 *   such a model.
 */
export async function openBert(path: string, recipe: object, { plugins }: Pick<TrainRecipeOptions, 'plugins'>): Promise<OpenedBert> {
  const document: JsonObject = { ...recipe };
  const given = isJsonObject(document['qformer_config']) ? document['qformer_config'] : {};
  const plugin = plugins.bridge(String(given['model_type']));
  const folder = await openModelFolder(path);
  const { start } = plugin;
  if (start === undefined || folder.config['model_type'] !== start.modelType) {
    const can = start === undefined ? 'begins as nothing' : `begins as a ${start.modelType}`;
    throw new QuerentError('QRT_CONFIG_INVALID', `${path} is a ${String(folder.config['model_type'])}; the bridge ${plugin.name} ${can}.`, { fix: 'Name the folder of a BERT in `bert`, for instance all-MiniLM-L6-v2.' });
  }
  return {
    document: { ...document, qformer_config: { ...withRoom(start.config(folder.config)), ...given } },
    weights: async (config, seed) => {
      const random = randomAt(seed, 0, STREAM);
      return start.weights(await trainedWeights(folder, () => true), folder.config, config, () => random.normal());
    },
  };
}

/** A vocabulary with a row for [DEC]. */
function withRoom(config: object): JsonObject {
  const taken: JsonObject = { ...config };
  const { vocab_size: rows } = taken;
  return typeof rows === 'number' ? { ...taken, vocab_size: rows + 1 } : taken;
}

/** The file in a folder, or the file itself. */
export const tokenizerFile = (path: string): string => (path.endsWith('.json') ? path : join(path, 'tokenizer.json'));

/** A tokenizer that has [DEC]: the file's own, or else one id more. `document` is what a trained folder is given. */
export async function withDecoderToken(path: string): Promise<{ readonly tokenizer: Tokenizer; readonly document: string | JsonObject }> {
  const file = tokenizerFile(path);
  const json = await readJsonObject(file);
  const config = await readJsonObjectIfThere(join(dirname(file), 'tokenizer_config.json'));
  const own = createTokenizer(json, config, file);
  if (own.tokenToId(DECODER_TOKEN) !== undefined) return { tokenizer: own, document: file };
  const token = { id: own.vocabSize, content: DECODER_TOKEN, special: true, single_word: false, lstrip: false, rstrip: false, normalized: false };
  const document: JsonObject = { ...json, added_tokens: [...(Array.isArray(json['added_tokens']) ? json['added_tokens'] : []), token] };
  return { tokenizer: createTokenizer(document, config, file), document };
}
