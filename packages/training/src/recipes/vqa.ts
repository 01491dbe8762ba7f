/**
 * VQA: stage 2 over questions (BLIP-2, section 4.4). The language model stays frozen and is asked with the question in a template; what
 * it should say is the answer. With `question_to_bridge` the Q-Former reads the question too, beside its queries, so that what it takes
 * from the image depends on what is asked. Features of the frozen encoder are cached, as in the other stages. The folder that is saved
 * says how it wants to be asked (`prompts.vqa`, `qformer_config.use_qformer_text_input`), and the `vqa` task reads that.
 */
import { join, resolve } from 'node:path';
import type { JsonSchema, ParameterSet, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import { createGraph, dimTerms } from '@querent/graph';
import type { ModelFolder, Tokenizer } from '@querent/hub';
import { loadTokenizer, openModelFolder, padRows, saveModelFolder } from '@querent/hub';
import { createBatchPlan, mixSeed, randomAt } from '../data/batches.ts';
import { cachedFeatures } from '../data/feature-source.ts';
import type { FeatureSource } from '../data/feature-source.ts';
import type { ViewOptions } from '../data/views.ts';
import { viewOptionsSchema } from '../data/views.ts';
import type { AnsweredQuestion, QuestionSource } from '../data/vqa.ts';
import { questionSourceSchema, readQuestions } from '../data/vqa.ts';
import { createDropout, createMaskPool, evaluateDim } from '../dropout.ts';
import type { RecipeEvent, TrainRecipeOptions } from '../train-recipe.ts';
import { trainingGraph } from '../training-graph.ts';
import type { BridgeOfDocument } from './bridge-parts.ts';
import { bridgeOf, fromOf, trainedWeights } from './bridge-parts.ts';
import type { PreparedRun, RunNumbers } from './common.ts';
import { RUN_NUMBERS_REQUIRED, initFolder, runNumbersProperties, sourceProperties } from './common.ts';
import type { EncoderChoice } from './frozen-encoder.ts';
import { cachedPictures, encoderChoiceProperties, openChosenEncoder, visionConfigOf } from './frozen-encoder.ts';
import { openFrozenLanguageModel } from './frozen-language-model.ts';
import type { FrozenLanguageModel } from './frozen-language-model.ts';
import { startValues } from './start-values.ts';
import { LANGUAGE_MODEL_SCOPE, languageProjection } from './stage2.ts';

export interface VqaRecipe extends RunNumbers, EncoderChoice {
  readonly kind: 'vqa';
  /** The frozen language model, a folder or a `.gguf` file. */
  readonly language_model: string;
  readonly questions: QuestionSource;
  readonly views: ViewOptions;
  /** Questions are cut after so many tokens, answers too. */
  readonly maxTokens: number;
  /** A folder of stage 2 whose bridge and projection it begins with; `--init` comes before it. */
  readonly init?: string;
  /** A folder of stage 1 that has what `init` lacks: the text branch of the Q-Former. */
  readonly text_init?: string;
  /** Does the bridge read the question too? */
  readonly question_to_bridge: boolean;
  /** The bridge's tokenizer, a folder or file; default: that of `text_init`. */
  readonly tokenizer?: string;
  /** Template with `{}` for the question. Default: the paper's, by the family of the language model. */
  readonly prompt?: string;
  readonly labelSmoothing?: number;
  readonly dropout?: number;
}

const folder = (description: string): JsonSchema => ({ type: 'string', description: `${description}, relative to the recipe.` });

export const vqaRecipeSchema: JsonSchema = {
  type: 'object',
  description: 'Teaches a bridge to answer questions with a frozen language model.',
  properties: {
    $schema: sourceProperties.$schema,
    kind: { const: 'vqa', description: 'Questions about pictures.' },
    ...encoderChoiceProperties,
    language_model: folder('The frozen language model, a folder or a .gguf file'),
    questions: questionSourceSchema,
    views: viewOptionsSchema,
    maxTokens: { type: 'integer', minimum: 3, description: 'Questions are cut after so many tokens, and answers.' },
    init: folder('A folder of stage 2 whose bridge and projection to begin with'),
    text_init: folder("A folder of stage 1 that has what `init` lacks, the Q-Former's text branch"),
    question_to_bridge: { type: 'boolean', description: 'Does the bridge read the question too?' },
    tokenizer: folder("The bridge's tokenizer, by default that of `text_init`; a folder or file"),
    prompt: { type: 'string', pattern: '\\{\\}', description: "Template with {} for the question. Default: the paper's, by the family of the language model." },
    labelSmoothing: sourceProperties.labelSmoothing,
    dropout: sourceProperties.dropout,
    ...runNumbersProperties,
  },
  required: ['kind', 'encoder', 'language_model', 'questions', 'views', 'maxTokens', 'question_to_bridge', ...RUN_NUMBERS_REQUIRED],
  additionalProperties: false,
};

/** BLIP-2's templates (section 4.1), as the `vqa` task has them. */
const TEMPLATES = { 'decoder-only': 'Question: {} Answer:', 'encoder-decoder': 'Question: {} Short answer:' } as const;

/**
 * Opens everything that a VQA recipe names; computes the feature cache first where there is none.
 *
 * @throws QuerentError QRT_CONFIG_INVALID when it names no bridge to begin with or no tokenizer for it, QRT_DATASET, QRT_FILE.
 */
export async function* prepareVqaRecipe(recipe: VqaRecipe, options: TrainRecipeOptions): AsyncGenerator<RecipeEvent, PreparedRun> {
  const at = (path: string): string => resolve(options.recipeFolder, path);
  const parts = await openParts(recipe, options, at);
  const { pictures, questions } = await readQuestions(recipe.questions, { dataFolder: options.dataFolder, cacheFolder: options.cacheFolder, part: 'train' });
  const cache = yield* cachedPictures(await openChosenEncoder(recipe, options.recipeFolder), recipe.views, pictures, options);
  const close = (): Promise<void> => cache.close();
  let run: ReturnType<typeof prepareVqa>;
  try {
    run = prepareVqa(recipe, { ...parts, source: cachedFeatures(cache), questions });
  } catch (error) {
    await close();
    throw error;
  }
  return {
    ...run,
    close,
    save: (weights, out) =>
      saveModelFolder(out, {
        config: {
          architectures: ['Blip2ForConditionalGeneration'],
          ...parts.bridge.folderConfig,
          prompts: { vqa: parts.template },
          vision_config: visionConfigOf(recipe, options.recipeFolder, out),
          text_config: { from: fromOf(out, at(recipe.language_model)) },
        },
        parameters: weights,
        dtype: 'float32',
        ...(parts.bridgeTokenizerFile === undefined ? {} : { tokenizer: parts.bridgeTokenizerFile }),
        generationConfig: { num_beams: 5, length_penalty: -1, max_new_tokens: recipe.maxTokens },
      }),
  };
}

interface OpenedParts extends FrozenLanguageModel {
  readonly bridge: BridgeOfDocument;
  readonly initial: ParameterSet;
  readonly template: string;
  /** Where the bridge reads the question. */
  readonly bridgeTokenizer?: Tokenizer;
  readonly bridgeTokenizerFile?: string;
}

async function openParts(recipe: VqaRecipe, options: TrainRecipeOptions, at: (path: string) => string): Promise<OpenedParts> {
  const initPath = initFolder(recipe, options);
  const [init, textInit] = [await opened(initPath), await opened(recipe.text_init === undefined ? undefined : at(recipe.text_init))];
  const begun = init ?? textInit;
  if (begun === undefined) throw new QuerentError('QRT_CONFIG_INVALID', 'The recipe names no bridge to begin with.', { fix: 'Give /init or --init, a folder of stage 2, or /text_init, one of stage 1.' });
  const bridge = bridgeOf(begun.config, options.plugins);
  const language = await openFrozenLanguageModel(at(recipe.language_model), options.plugins);
  const shared = {
    bridge: recipe.question_to_bridge ? readingText(bridge) : bridge,
    initial: new Map([...(await bridgeWeights(textInit)), ...(await bridgeWeights(init))]),
    ...language,
    template: recipe.prompt ?? TEMPLATES[language.languageModel.architecture],
  };
  if (!recipe.question_to_bridge) return shared;
  const given = recipe.tokenizer === undefined ? textInit?.tokenizerFile : tokenizerIn(at(recipe.tokenizer));
  if (given === undefined) throw new QuerentError('QRT_CONFIG_INVALID', 'The bridge is to read the question, and the recipe names no tokenizer for it.', { fix: 'Give /tokenizer, or /text_init with a tokenizer.json inside.' });
  return { ...shared, bridgeTokenizer: await loadTokenizer(given), bridgeTokenizerFile: given };
}

async function opened(path: string | undefined): Promise<ModelFolder | undefined> {
  return path === undefined ? undefined : openModelFolder(path);
}

async function bridgeWeights(from: ModelFolder | undefined): Promise<ParameterSet> {
  return from === undefined ? new Map() : trainedWeights(from, (name) => !/^(language_model|vision_model)\./.test(name));
}

function tokenizerIn(path: string): string {
  return path.endsWith('.json') ? path : join(path, 'tokenizer.json');
}

/** The bridge with the key that says so in its config. */
function readingText({ plugin, config, folderConfig }: BridgeOfDocument): BridgeOfDocument {
  const key = { use_qformer_text_input: true };
  return { plugin, config: { ...config, ...key }, folderConfig: { ...folderConfig, qformer_config: { ...Object(folderConfig['qformer_config']), ...key } } };
}

interface VqaParts extends OpenedParts {
  readonly source: FeatureSource;
  readonly questions: readonly AnsweredQuestion[];
}

/** Graph and data of a VQA run. An epoch asks each question once. */
function prepareVqa(recipe: VqaRecipe, parts: VqaParts): Omit<PreparedRun, 'save' | 'close'> {
  const { source, questions, languageModel, languageConfig, tokenizer, bridgeTokenizer } = parts;
  const g = createGraph('vqa');
  const rate = recipe.dropout ?? 0;
  const dropout = rate > 0 ? createDropout(g) : undefined;
  const bridge = parts.bridge.plugin.build(g, parts.bridge.config, dropout === undefined ? {} : { dropout: dropout.apply });
  const features = source.features(g);
  const batchDim = features.shape[0]!;
  const rows = (name: string, width: string): ReturnType<typeof g.input> => g.input(name, 'int64', [batchDim, width]);
  const text = bridgeTokenizer === undefined ? undefined : { inputIds: rows('input_ids', 'tokens'), attentionMask: rows('attention_mask', 'tokens') };
  const { queries } = bridge.encode(features, text);
  const { loss } = languageModel.loss(
    g.scope(LANGUAGE_MODEL_SCOPE),
    {
      softPrompt: languageProjection(g, queries, languageModel.width(languageConfig)),
      promptIds: rows('prompt_ids', 'prompt'),
      promptMask: rows('prompt_mask', 'prompt'),
      labels: rows('labels', 'labels'),
    },
    languageConfig,
    { labelSmoothing: recipe.labelSmoothing ?? 0 },
  );
  const graph = trainingGraph(g, { loss }, (name) => !name.startsWith(`${LANGUAGE_MODEL_SCOPE}.`));
  const maskTerms = dropout === undefined ? [] : dimTerms(dropout.elements());

  const { maxTokens } = recipe;
  const specials = languageModel.specialTokens(languageConfig);
  const [eos, pad] = [specials.eos[0]!, specials.pad ?? 0];
  const encoded = questions.map(({ question, answer }) => ({
    prompt: tokenizer.encode(parts.template.split('{}').join(question), { addSpecialTokens: true, maxLength: maxTokens + PROMPT_ROOM }),
    labels: [...tokenizer.encode(answer, { addSpecialTokens: false, maxLength: maxTokens }), eos],
    bridge: bridgeTokenizer?.encode(question, { addSpecialTokens: true, maxLength: maxTokens }) ?? [],
  }));
  const longest = encoded.reduce((most, one) => Math.max(most, one.bridge.length), 0);
  const pool = dropout === undefined ? undefined : createMaskPool(rate, evaluateDim(maskTerms, { batch: recipe.batch, tokens: longest }), randomAt(recipe.seed, 0, 5));
  const plan = createBatchPlan({ samples: questions.length, batchSize: recipe.batch, seed: recipe.seed, lengthOf: (i) => encoded[i]!.prompt.length });
  const int64 = (padded: ReturnType<typeof padRows>, which: 'ids' | 'mask', batch: number): TensorData => ({ dtype: 'int64', shape: [batch, padded.width], data: padded[which] });

  return {
    graph,
    frozen: parts.frozen,
    start: startValues(graph, recipe.seed, parts.bridge.plugin, parts.initial),
    steps: Math.floor((plan.batchesPerEpoch * recipe.epochs) / (recipe.accumulate ?? 1)),
    batchAt: async (step, micro) => {
      const place = step * (recipe.accumulate ?? 1) + micro;
      const random = randomAt(mixSeed(recipe.seed, 4), place);
      const samples = plan.at(place);
      const batch = samples.length;
      const prompt = padRows(samples.map((i) => encoded[i]!.prompt), pad, languageModel.promptPadding);
      const labels = padRows(samples.map((i) => encoded[i]!.labels), -100, 'right');
      const feeds: Record<string, TensorData> = {
        ...(await source.feed(samples.map((i) => questions[i]!.picture), random)),
        prompt_ids: int64(prompt, 'ids', batch),
        prompt_mask: int64(prompt, 'mask', batch),
        labels: int64(labels, 'ids', batch),
      };
      const asked = bridgeTokenizer === undefined ? undefined : padRows(samples.map((i) => encoded[i]!.bridge), bridgeTokenizer.specials.pad ?? 0, 'right');
      if (asked !== undefined) {
        feeds['input_ids'] = int64(asked, 'ids', batch);
        feeds['attention_mask'] = int64(asked, 'mask', batch);
      }
      if (pool !== undefined) feeds['dropout_mask'] = pool.take(evaluateDim(maskTerms, { batch, tokens: asked?.width ?? 0 }), random);
      return { feeds, samples: batch };
    },
  };
}

/** Tokens of a prompt beside the question. */
const PROMPT_ROOM = 16;
