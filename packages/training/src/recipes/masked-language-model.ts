/**
 * What BERT brings to BLIP-2's Q-Former, made from nothing: its text stream learns language from captions without pictures, as a
 * masked language model (Devlin 2018), before stage 1 shows it images. Stage 1 begins with the result (`init`); the queries' feed-
 * forwards start as the text's and the cross-attention is drawn anew, as the paper does it. Read `stage1.ts` next.
 */
import { join, resolve } from 'node:path';
import type { JsonSchema, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import { createGraph, crossEntropy, dimTerms } from '@querent/graph';
import { loadTokenizer, padRows, saveModelFolder } from '@querent/hub';
import type { Random } from '@querent/images';
import { createBatchPlan, mixSeed, randomAt } from '../data/batches.ts';
import { createTextEncoder, tokenCorpus } from '../data/encode-text.ts';
import { createDropout, createMaskPool, evaluateDim } from '../dropout.ts';
import type { TrainRecipeOptions } from '../train-recipe.ts';
import { trainingGraph } from '../training-graph.ts';
import { bridgeOf, textTokens } from './bridge-parts.ts';
import type { PreparedRun, RunNumbers } from './common.ts';
import { RUN_NUMBERS_REQUIRED, runNumbersProperties, sourceProperties } from './common.ts';
import type { TextSource } from './language-model.ts';
import { readCaptions, textSourceSchema } from './language-model.ts';
import { startValues } from './start-values.ts';

export interface MaskedLanguageModelRecipe extends RunNumbers {
  readonly kind: 'masked-language-model';
  /** The bridge's config and the keys that stand beside it, as in a stage-1 recipe. */
  readonly qformer_config: Readonly<Record<string, unknown>> & { readonly model_type: string };
  readonly num_query_tokens?: number;
  readonly image_text_hidden_size?: number;
  readonly vision_layer_norm?: boolean;
  /** Folder or file of the bridge's tokenizer, relative to the recipe. */
  readonly tokenizer: string;
  readonly text: TextSource;
  readonly maxTokens: number;
  /** The token that stands for a hidden one. */
  readonly maskToken: string;
  /** Share of a caption's tokens that must be guessed. BERT hides 0.15. */
  readonly maskShare: number;
  readonly dropout?: number;
}

export const maskedLanguageModelRecipeSchema: JsonSchema = {
  type: 'object',
  properties: {
    $schema: sourceProperties.$schema,
    kind: { const: 'masked-language-model', description: "The bridge's text stream learns language from text alone." },
    qformer_config: { type: 'object', description: "The bridge's config.", properties: { model_type: { type: 'string' } }, required: ['model_type'] },
    num_query_tokens: { type: 'integer', minimum: 1, description: 'Learned queries.' },
    image_text_hidden_size: { type: 'integer', minimum: 1, description: 'Width of the space in which image and text are compared.' },
    vision_layer_norm: { type: 'boolean', description: 'Train a norm over the features: for encoders that do not end with one.' },
    tokenizer: { type: 'string', description: "The bridge's tokenizer, a folder or file relative to the recipe." },
    text: textSourceSchema,
    maxTokens: sourceProperties.maxTokens,
    maskToken: { type: 'string', description: 'The token that stands for a hidden one.' },
    maskShare: { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1, description: 'Share of the tokens that must be guessed.' },
    dropout: sourceProperties.dropout,
    ...runNumbersProperties,
  },
  required: ['kind', 'qformer_config', 'tokenizer', 'text', 'maxTokens', 'maskToken', 'maskShare', ...RUN_NUMBERS_REQUIRED],
  additionalProperties: false,
};

/** Of the tokens that must be guessed: hidden, and exchanged for another; the rest stand as they are (Devlin 2018, section 3.1). */
const HIDDEN = 0.8;
const EXCHANGED = 0.1;

/** What masking needs to know of the vocabulary. */
export interface MaskingOptions {
  readonly mask: number;
  readonly share: number;
  /** Ids below this are special tokens: never drawn in exchange. */
  readonly firstWord: number;
  readonly vocabulary: number;
}

/** A caption with tokens hidden, and the labels: -100 where nothing is to be guessed. At least one token is. */
export function maskTokens(ids: readonly number[], options: MaskingOptions, random: Random): { readonly ids: number[]; readonly labels: number[] } {
  const shown = [...ids];
  const labels = ids.map(() => -100);
  const certain = random.int(ids.length);
  ids.forEach((id, i) => {
    if (i !== certain && random.next() >= options.share) return;
    labels[i] = id;
    const fate = random.next();
    if (fate < HIDDEN) shown[i] = options.mask;
    else if (fate < HIDDEN + EXCHANGED) shown[i] = options.firstWord + random.int(options.vocabulary - options.firstWord);
  });
  return { ids: shown, labels };
}

/** @throws QuerentError QRT_DATASET, QRT_TOKENIZER, QRT_PLUGIN_INVALID when the bridge cannot read text alone. */
export async function prepareMaskedLanguageModel(recipe: MaskedLanguageModelRecipe, options: TrainRecipeOptions): Promise<PreparedRun> {
  const { plugin, config, folderConfig } = bridgeOf({ ...recipe }, options.plugins);
  const tokenizerPath = resolve(options.recipeFolder, recipe.tokenizer);
  const tokenizer = await loadTokenizer(tokenizerPath);
  const tokens = textTokens(tokenizer, tokenizerPath);
  const mask = tokenizer.tokenToId(recipe.maskToken);
  if (mask === undefined) throw new QuerentError('QRT_TOKENIZER', `${tokenizerPath} has no token ${recipe.maskToken}.`, { fix: 'Name one that it has as /maskToken.' });
  const special = Math.max(mask, tokens.cls, tokens.sep, tokens.dec, tokens.pad);
  const masking: MaskingOptions = { mask, share: recipe.maskShare, firstWord: special + 1, vocabulary: tokenizer.vocabSize };

  const g = createGraph('masked-language-model');
  const rate = recipe.dropout ?? 0;
  const dropout = rate > 0 ? createDropout(g) : undefined;
  const bridge = plugin.build(g, config, dropout === undefined ? {} : { dropout: dropout.apply });
  if (bridge.maskedText === undefined) throw new QuerentError('QRT_PLUGIN_INVALID', `The bridge ${plugin.name} cannot read text without a picture.`, { fix: 'Use the Q-Former, or begin with stage 1.' });
  const text = { inputIds: g.input('input_ids', 'int64', ['batch', 'tokens']), attentionMask: g.input('attention_mask', 'int64', ['batch', 'tokens']) };
  const { loss } = crossEntropy(bridge.maskedText(text), g.input('labels', 'int64', ['batch', 'tokens']), {});
  const graph = trainingGraph(g, { loss }, () => true);
  const maskTerms = dropout === undefined ? [] : dimTerms(dropout.elements());
  const pool = dropout === undefined ? undefined : createMaskPool(rate, evaluateDim(maskTerms, { batch: recipe.batch, tokens: recipe.maxTokens + 2 }), randomAt(recipe.seed, 0, 5));

  const captions = await readCaptions(recipe.text, options.dataFolder);
  const encode = createTextEncoder(tokenizer, captions);
  const corpus = tokenCorpus(captions.map((caption) => encode(caption).slice(0, recipe.maxTokens)));
  const plan = createBatchPlan({ samples: corpus.length, batchSize: recipe.batch, seed: recipe.seed, lengthOf: corpus.lengthOf });

  return {
    graph,
    frozen: new Map(),
    start: startValues(graph, recipe.seed, plugin),
    steps: Math.floor((plan.batchesPerEpoch * recipe.epochs) / (recipe.accumulate ?? 1)),
    batchAt: async (step, micro) => {
      const place = step * (recipe.accumulate ?? 1) + micro;
      const random = randomAt(mixSeed(recipe.seed, 3), place);
      const rows = plan.at(place).map((sample) => maskTokens([...corpus.at(sample)], masking, random));
      const ids = padRows(rows.map((row) => [tokens.cls, ...row.ids, tokens.sep]), tokens.pad, 'right');
      const labels = padRows(rows.map((row) => [-100, ...row.labels, -100]), -100, 'right');
      const shape = [rows.length, ids.width];
      const feeds: Record<string, TensorData> = {
        input_ids: { dtype: 'int64', shape, data: ids.ids },
        attention_mask: { dtype: 'int64', shape, data: ids.mask },
        labels: { dtype: 'int64', shape, data: labels.ids },
      };
      if (pool !== undefined) feeds['dropout_mask'] = pool.take(evaluateDim(maskTerms, { batch: rows.length, tokens: ids.width }), random);
      return { feeds, samples: rows.length };
    },
    save: (weights, folder) =>
      saveModelFolder(folder, {
        config: { architectures: ['Blip2ForImageTextRetrieval'], ...folderConfig },
        parameters: weights,
        tokenizer: tokenizerPath.endsWith('.json') ? tokenizerPath : join(tokenizerPath, 'tokenizer.json'),
        dtype: 'float32',
      }),
  };
}
