/**
 * Stage 2: the queries, projected to the width of a frozen language model, become soft prompts in front of its text
 * (BLIP-2, section 3.2). Which family of language model it is shows only in its plugin: decoder-only ones are trained with
 * the language-modelling loss, encoder-decoder ones with the prefix-LM loss.
 */
import { padRows } from '@querent/hub';
import type { BridgeConfig, BridgePlugin, GraphScope, LanguageModelLoss, LanguageModelPlugin, ParameterSet, Tensor, TensorData } from '@querent/core';
import { createGraph, dimTerms, linear } from '@querent/graph';
import type { Tokenizer } from '@querent/hub';
import { createBatchPlan, mixSeed, randomAt } from '../data/batches.ts';
import type { FeatureSource } from '../data/feature-source.ts';
import type { CaptionPairs } from '../data/image-captions.ts';
import { createDropout, createMaskPool, evaluateDim } from '../dropout.ts';
import { trainingGraph } from '../training-graph.ts';
import type { PreparedRun, RunNumbers } from './common.ts';
import { addObjectives } from './plugin-objectives.ts';
import type { ChosenObjective } from './plugin-objectives.ts';
import { startValues } from './start-values.ts';

export interface Stage2Numbers extends RunNumbers {
  readonly labelSmoothing?: number;
  readonly dropout?: number;
  /** Share of captions that are asked for with a text prompt, so that both ways work afterwards. */
  readonly prompt?: { readonly text: string; readonly share: number };
  /** Split each caption at a random place up to its middle: the first part is read, the rest is written (prefix LM). */
  readonly prefixShare?: number;
  /** Multiplies the learning rate of the weights that a run begins with: what is drawn has more to learn. Default 1. */
  readonly initRate?: number;
}

export interface Stage2Parts {
  readonly plugin: BridgePlugin;
  readonly config: BridgeConfig;
  readonly languageModel: LanguageModelPlugin;
  readonly languageConfig: unknown;
  /** The language model's own, with its special tokens. */
  readonly tokenizer: Tokenizer;
  readonly source: FeatureSource;
  readonly pairs: CaptionPairs;
  /** What does not learn: the language model's weights, under `language_model.`. */
  readonly frozen: ParameterSet;
  /** Stage 1's weights, or none to skip stage 1. */
  readonly initial?: ParameterSet;
  /** Losses of plugins. */
  readonly objectives?: readonly ChosenObjective[];
  readonly save: PreparedRun['save'];
  /** Frees what the parts hold open. */
  readonly close?: () => Promise<void>;
}

/** Where the language model's parameters stand in a BLIP-2 checkpoint. */
export const LANGUAGE_MODEL_SCOPE = 'language_model';

/** Queries → soft prompt: one linear layer to the language model's width (HF `language_projection`). */
export function languageProjection(g: GraphScope, queries: Tensor, width: number): Tensor {
  return linear(g.scope('language_projection'), queries, width);
}

/**
 * The weights to begin with, less a projection that was trained for a language model of another width: a bridge goes on to a new
 * language model, its last layer cannot.
 */
export function fittingProjection(
  initial: ParameterSet,
  { languageModel, languageConfig }: Pick<Stage2Parts, 'languageModel' | 'languageConfig'>,
): { readonly kept: ParameterSet; readonly note?: string } {
  const trained = initial.get('language_projection.weight')?.shape[0];
  const width = languageModel.width(languageConfig);
  if (trained === undefined || trained === width) return { kept: initial };
  return {
    kept: new Map([...initial].filter(([name]) => !name.startsWith('language_projection.'))),
    note: `The projection to begin with is for a language model of width ${trained}; this one has ${width}: it begins anew.`,
  };
}

/**
 * What the captions of a run go on from: a decoder-only model reads [prompt ; caption] as one text; an encoder-decoder begins its own.
 */
export function goesOnFrom({ languageModel }: Pick<Stage2Parts, 'languageModel'>, prompt: string | undefined): string {
  return languageModel.architecture === 'decoder-only' ? (prompt ?? '') : '';
}

/** Graph and data of a stage-2 run. An epoch shows each image once, with all the captions drawn for it sharing its queries. */
export function prepareStage2(numbers: Stage2Numbers, parts: Stage2Parts): PreparedRun {
  const { source, pairs, tokenizer, languageModel, languageConfig } = parts;
  const g = createGraph('stage2');
  const rate = numbers.dropout ?? 0;
  const dropout = rate > 0 ? createDropout(g) : undefined;
  const bridge = parts.plugin.build(g, parts.config, dropout === undefined ? {} : { dropout: dropout.apply });
  const features = source.features(g);
  const batchDim = features.shape[0]!;
  const image = bridge.encode(features);
  const texts = {
    promptIds: g.input('prompt_ids', 'int64', [batchDim, 'prompt']),
    promptMask: g.input('prompt_mask', 'int64', [batchDim, 'prompt']),
    labels: g.input('labels', 'int64', [batchDim, 'labels']),
  };
  const languageModelLoss = (queries: Tensor, { labelSmoothing = numbers.labelSmoothing ?? 0 }: { readonly labelSmoothing?: number } = {}): LanguageModelLoss => {
    const softPrompt = languageProjection(g, queries, languageModel.width(languageConfig));
    return languageModel.loss(g.scope(LANGUAGE_MODEL_SCOPE), { softPrompt, ...texts }, languageConfig, { labelSmoothing });
  };
  const { loss } = languageModelLoss(image.queries);
  const { losses, noise } = addObjectives(g, { loss }, parts.objectives ?? [], { features, bridge, image, languageModelLoss });
  const graph = trainingGraph(g, losses, (name) => !name.startsWith(`${LANGUAGE_MODEL_SCOPE}.`) && !parts.frozen.has(name));
  const maskTerms = dropout === undefined ? [] : dimTerms(dropout.elements());
  const pool = dropout === undefined ? undefined : createMaskPool(rate, evaluateDim(maskTerms, { batch: numbers.batch }), randomAt(numbers.seed, 0, 5));
  const plan = createBatchPlan({ samples: pairs.corpus.length, batchSize: numbers.batch, seed: numbers.seed, lengthOf: pairs.corpus.lengthOf });
  const specials = languageModel.specialTokens(languageConfig);
  const [eos, pad] = [specials.eos[0]!, specials.pad ?? 0];
  const open = tokenizer.encode('', { addSpecialTokens: true });
  const prompted = numbers.prompt === undefined ? open : tokenizer.encode(numbers.prompt.text, { addSpecialTokens: true });

  return {
    graph,
    frozen: parts.frozen,
    start: startValues(graph, numbers.seed, parts.plugin, parts.initial),
    steps: Math.floor((plan.batchesPerEpoch * numbers.epochs) / (numbers.accumulate ?? 1)),
    learningRateScale: (name) => (parts.initial?.has(name) === true ? (numbers.initRate ?? 1) : 1),
    batchAt: async (step, micro) => {
      const place = step * (numbers.accumulate ?? 1) + micro;
      const random = randomAt(mixSeed(numbers.seed, 4), place);
      const samples = plan.at(place);
      const rows = samples.map((pair) => {
        const caption = [...pairs.corpus.at(pair)];
        const isPrompted = numbers.prompt !== undefined && random.next() < numbers.prompt.share;
        const cut = random.next() < (numbers.prefixShare ?? 0) ? 1 + random.int(Math.max(1, caption.length >> 1)) : 0;
        return { prompt: withPrefix(isPrompted ? prompted : open, caption.slice(0, cut), eos), labels: [...caption.slice(cut), eos] };
      });
      const prompt = padRows(rows.map((row) => row.prompt), pad, languageModel.promptPadding);
      const labels = padRows(rows.map((row) => row.labels), -100, 'right');
      const batch = samples.length;
      const feeds: Record<string, TensorData> = {
        ...(await source.feed(samples.map((pair) => pairs.imageOf(pair)), random)),
        prompt_ids: { dtype: 'int64', shape: [batch, prompt.width], data: prompt.ids },
        prompt_mask: { dtype: 'int64', shape: [batch, prompt.width], data: prompt.mask },
        labels: { dtype: 'int64', shape: [batch, labels.width], data: labels.ids },
      };
      Object.assign(feeds, noise({ batch, prompt: prompt.width, labels: labels.width }, random));
      if (pool !== undefined) feeds['dropout_mask'] = pool.take(evaluateDim(maskTerms, { batch }), random);
      return { feeds, samples: batch };
    },
    save: parts.save,
    ...(parts.close === undefined ? {} : { close: parts.close }),
  };
}

/** The prompt with a caption's beginning: before the end token where the prompt has one (encoder-decoders), else at the end. */
function withPrefix(prompt: readonly number[], prefix: readonly number[], eos: number): number[] {
  return prompt.at(-1) === eos ? [...prompt.slice(0, -1), ...prefix, eos] : [...prompt, ...prefix];
}
