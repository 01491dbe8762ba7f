/**
 * Stage 1: the Q-Former learns from image–caption pairs beside a frozen encoder (BLIP-2, section 3.1). The graph of the
 * losses is `objectives/stage1.ts`; this file feeds it from cached features. Read `stage2.ts` next.
 */
import { padRows } from '@querent/hub';
import type { BridgeConfig, BridgePlugin, ParameterSet, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import { createGraph, dimTerms } from '@querent/graph';
import type { Random } from '@querent/images';
import type { BatchPlan } from '../data/batches.ts';
import { createBatchPlan, mixSeed, randomAt } from '../data/batches.ts';
import type { FeatureSource } from '../data/feature-source.ts';
import type { CaptionPairs } from '../data/image-captions.ts';
import { gumbelNoise } from '../data/image-captions.ts';
import { createNeighbourPlan } from '../data/neighbours.ts';
import { createDropout, createMaskPool, evaluateDim } from '../dropout.ts';
import type { Stage1Weights } from '../objectives/stage1.ts';
import { stage1 } from '../objectives/stage1.ts';
import { trainingGraph } from '../training-graph.ts';
import type { PreparedRun, RunNumbers } from './common.ts';
import { addObjectives, isRead } from './plugin-objectives.ts';
import type { ChosenObjective } from './plugin-objectives.ts';
import { startValues } from './start-values.ts';

export interface Stage1Numbers extends RunNumbers {
  readonly weights: Stage1Weights;
  readonly labelSmoothing?: number;
  readonly dropout?: number;
  /** Share of the batches that are made of photographs that look alike: harder negatives for ITM. Default 0. */
  readonly neighbours?: number;
  /** Share of the tokens that are hidden, against learning captions by heart. Default 0; not with ITG. */
  readonly maskShare?: number;
}

export interface Stage1Parts {
  readonly plugin: BridgePlugin;
  /** The bridge's config, complete. */
  readonly config: BridgeConfig;
  readonly source: FeatureSource;
  readonly pairs: CaptionPairs;
  readonly tokens: { readonly cls: number; readonly sep: number; readonly dec: number; readonly pad: number; readonly mask?: number | undefined };
  /** Parameters that do not learn; none unless there is an encoder in the graph. */
  readonly frozen?: ParameterSet;
  /** Weights to begin with; what is missing is drawn. */
  readonly initial?: ParameterSet;
  /** Losses of plugins. */
  readonly objectives?: readonly ChosenObjective[];
  readonly save: PreparedRun['save'];
  /** Frees what the parts hold open. */
  readonly close?: () => Promise<void>;
}

/**
 * Graph and data of a stage-1 run. An epoch shows each image that has captions once, with one of them.
 * @throws QuerentError QRT_CONFIG_INVALID when words are to be hidden that ITG would have to write, or behind no token
 */
export async function prepareStage1(numbers: Stage1Numbers, parts: Stage1Parts): Promise<PreparedRun> {
  const { source, pairs, tokens } = parts;
  const g = createGraph('stage1');
  const rate = numbers.dropout ?? 0;
  const dropout = rate > 0 ? createDropout(g) : undefined;
  const bridge = parts.plugin.build(g, parts.config, dropout === undefined ? {} : { dropout: dropout.apply });
  const features = source.features(g);
  const batchDim = features.shape[0]!;
  const needsNoise = numbers.weights.itm > 0;
  const image = bridge.encode(features);
  const text = { inputIds: g.input('input_ids', 'int64', [batchDim, 'tokens']), attentionMask: g.input('attention_mask', 'int64', [batchDim, 'tokens']) };
  const imageIds = g.input('image_ids', 'int64', [batchDim]);
  const own = stage1(
    bridge,
    {
      features,
      ...text,
      imageIds,
      image,
      ...(needsNoise ? { negatives: { images: g.input('image_noise', 'float32', [batchDim, batchDim]), texts: g.input('text_noise', 'float32', [batchDim, batchDim]) } } : {}),
    },
    { weights: numbers.weights, decoderToken: tokens.dec, ...(numbers.labelSmoothing === undefined ? {} : { labelSmoothing: numbers.labelSmoothing }) },
  );
  const { losses, noise } = addObjectives(g, own, parts.objectives ?? [], { features, bridge, image, text, imageIds });
  const readsImageIds = isRead(g, 'image_ids');
  const graph = trainingGraph(g, losses, (name) => parts.frozen?.has(name) !== true);
  const maskTerms = dropout === undefined ? [] : dimTerms(dropout.elements());
  const longest = maxTokens(pairs) + 2;
  const pool = dropout === undefined ? undefined : createMaskPool(rate, evaluateDim(maskTerms, { batch: numbers.batch, tokens: longest }), randomAt(numbers.seed, 0, 5));
  const captioned = pairs.images.flatMap((_, image) => (pairs.pairsOf(image).length === 0 ? [] : [image]));
  const plan = await batchPlan(numbers, source, captioned);
  const hide = hideWords(numbers, tokens.mask);

  return {
    graph,
    frozen: parts.frozen ?? new Map(),
    start: startValues(graph, numbers.seed, parts.plugin, parts.initial),
    steps: Math.floor((plan.batchesPerEpoch * numbers.epochs) / (numbers.accumulate ?? 1)),
    batchAt: async (step, micro) => {
      const place = step * (numbers.accumulate ?? 1) + micro;
      const random = randomAt(mixSeed(numbers.seed, 4), place);
      const images = plan.at(place).map((i) => captioned[i]!);
      const rows = images.map((image) => {
        const own = pairs.pairsOf(image);
        return [tokens.cls, ...hide(pairs.corpus.at(own[random.int(own.length)]!), random), tokens.sep];
      });
      const text = padRows(rows, tokens.pad, 'right');
      const batch = images.length;
      const feeds: Record<string, TensorData> = {
        ...(await source.feed(images, random)),
        input_ids: { dtype: 'int64', shape: [batch, text.width], data: text.ids },
        attention_mask: { dtype: 'int64', shape: [batch, text.width], data: text.mask },
      };
      Object.assign(feeds, noise({ batch, tokens: text.width }, random));
      if (readsImageIds) feeds['image_ids'] = { dtype: 'int64', shape: [batch], data: BigInt64Array.from(images, BigInt) };
      if (needsNoise) {
        feeds['image_noise'] = gumbelNoise(batch, batch, random);
        feeds['text_noise'] = gumbelNoise(batch, batch, random);
      }
      if (pool !== undefined) feeds['dropout_mask'] = pool.take(evaluateDim(maskTerms, { batch, tokens: text.width }), random);
      return { feeds, samples: batch };
    },
    save: parts.save,
    ...(parts.close === undefined ? {} : { close: parts.close }),
  };
}

/** At random, or with a share of the batches made of neighbours. */
async function batchPlan(numbers: Stage1Numbers, source: FeatureSource, images: readonly number[]): Promise<BatchPlan> {
  const common = { samples: images.length, batchSize: numbers.batch, seed: numbers.seed };
  const share = numbers.neighbours ?? 0;
  if (share === 0) return createBatchPlan(common);
  if (source.pooled === undefined) {
    throw new QuerentError('QRT_CONFIG_INVALID', 'Neighbours are found in cached features, and this run computes its features anew.', { fix: 'Leave out /neighbours.' });
  }
  return createNeighbourPlan({ ...common, share, vectors: await source.pooled(images) });
}

function hideWords(numbers: Stage1Numbers, mask: number | undefined): (ids: Iterable<number>, random: Random) => Iterable<number> {
  const share = numbers.maskShare ?? 0;
  if (share === 0) return (ids) => ids;
  if (numbers.weights.itg > 0) throw new QuerentError('QRT_CONFIG_INVALID', 'ITG cannot write words that are hidden.', { fix: 'Leave out /maskShare, or give /weights/itg the weight 0.' });
  if (mask === undefined) throw new QuerentError('QRT_CONFIG_INVALID', '/maskShare hides tokens, and the vocabulary has no /maskToken to put in their place.', { fix: 'Name a token that the tokenizer has as /maskToken.' });
  return (ids, random) => Array.from(ids, (id) => (random.next() < share ? mask : id));
}

function maxTokens(pairs: CaptionPairs): number {
  let most = 0;
  for (let pair = 0; pair < pairs.corpus.length; pair++) most = Math.max(most, pairs.corpus.lengthOf(pair));
  return most;
}
