/**
 * Stage 1: the Q-Former learns from image–caption pairs beside a frozen encoder (BLIP-2, section 3.1). The graph of the
 * losses is `objectives/stage1.ts`; this file feeds it from cached features. Read `stage2.ts` next.
 */
import type { BridgeConfig, BridgePlugin, ParameterSet, TensorData } from '@querent/core';
import { createGraph, dimTerms } from '@querent/graph';
import { createBatchPlan, mixSeed, randomAt } from '../data/batches.ts';
import { padRows } from '../data/encode-text.ts';
import type { FeatureCache } from '../data/feature-cache.ts';
import type { CaptionPairs } from '../data/image-captions.ts';
import { drawFeatures, gumbelNoise } from '../data/image-captions.ts';
import { createDropout, createMaskPool, evaluateDim } from '../dropout.ts';
import type { Stage1Weights } from '../objectives/stage1.ts';
import { stage1 } from '../objectives/stage1.ts';
import { initialise, trainingGraph } from '../training-graph.ts';
import type { PreparedRun, RunNumbers } from './common.ts';

export interface Stage1Numbers extends RunNumbers {
  readonly weights: Stage1Weights;
  readonly labelSmoothing?: number;
  readonly dropout?: number;
}

export interface Stage1Parts {
  readonly plugin: BridgePlugin;
  /** The bridge's config, complete. */
  readonly config: BridgeConfig;
  readonly cache: FeatureCache;
  readonly pairs: CaptionPairs;
  readonly tokens: { readonly cls: number; readonly sep: number; readonly dec: number; readonly pad: number };
  /** Weights to begin with; what is missing is drawn. */
  readonly initial?: ParameterSet;
  readonly save: PreparedRun['save'];
}

/** Graph and data of a stage-1 run. An epoch shows each image once, with one of its captions. */
export function prepareStage1(numbers: Stage1Numbers, parts: Stage1Parts): PreparedRun {
  const { cache, pairs, tokens } = parts;
  const g = createGraph('stage1');
  const rate = numbers.dropout ?? 0;
  const dropout = rate > 0 ? createDropout(g) : undefined;
  const bridge = parts.plugin.build(g, parts.config, dropout === undefined ? {} : { dropout: dropout.apply });
  const features = g.input('features', 'float32', ['batch', cache.patches, cache.width]);
  const needsNoise = numbers.weights.itm > 0;
  const losses = stage1(
    bridge,
    {
      features,
      inputIds: g.input('input_ids', 'int64', ['batch', 'tokens']),
      attentionMask: g.input('attention_mask', 'int64', ['batch', 'tokens']),
      imageIds: g.input('image_ids', 'int64', ['batch']),
      ...(needsNoise ? { negatives: { images: g.input('image_noise', 'float32', ['batch', 'batch']), texts: g.input('text_noise', 'float32', ['batch', 'batch']) } } : {}),
    },
    { weights: numbers.weights, decoderToken: tokens.dec, ...(numbers.labelSmoothing === undefined ? {} : { labelSmoothing: numbers.labelSmoothing }) },
  );
  const graph = trainingGraph(g, losses, () => true);
  const maskTerms = dropout === undefined ? [] : dimTerms(dropout.elements());
  const longest = maxTokens(pairs) + 2;
  const pool = dropout === undefined ? undefined : createMaskPool(rate, evaluateDim(maskTerms, { batch: numbers.batch, tokens: longest }), randomAt(numbers.seed, 0, 5));
  const plan = createBatchPlan({ samples: pairs.images.length, batchSize: numbers.batch, seed: numbers.seed });

  return {
    graph,
    frozen: new Map(),
    start: startValues(graph, numbers.seed, parts.plugin, parts.initial),
    steps: Math.floor((plan.batchesPerEpoch * numbers.epochs) / (numbers.accumulate ?? 1)),
    batchAt: async (step, micro) => {
      const place = step * (numbers.accumulate ?? 1) + micro;
      const random = randomAt(mixSeed(numbers.seed, 4), place);
      const images = plan.at(place);
      const rows = images.map((image) => {
        const own = pairs.pairsOf(image);
        return [tokens.cls, ...pairs.corpus.at(own[random.int(own.length)]!), tokens.sep];
      });
      const text = padRows(rows, tokens.pad, 'right');
      const batch = images.length;
      const feeds: Record<string, TensorData> = {
        features: await drawFeatures(cache, images, random),
        input_ids: { dtype: 'int64', shape: [batch, text.width], data: text.ids },
        attention_mask: { dtype: 'int64', shape: [batch, text.width], data: text.mask },
      };
      if (numbers.weights.itc > 0 || needsNoise) feeds['image_ids'] = { dtype: 'int64', shape: [batch], data: BigInt64Array.from(images, BigInt) };
      if (needsNoise) {
        feeds['image_noise'] = gumbelNoise(batch, batch, random);
        feeds['text_noise'] = gumbelNoise(batch, batch, random);
      }
      if (pool !== undefined) feeds['dropout_mask'] = pool.take(evaluateDim(maskTerms, { batch, tokens: text.width }), random);
      return { feeds, samples: batch };
    },
    save: parts.save,
  };
}

function maxTokens(pairs: CaptionPairs): number {
  let most = 0;
  for (let pair = 0; pair < pairs.corpus.length; pair++) most = Math.max(most, pairs.corpus.lengthOf(pair));
  return most;
}

/** Given weights where there are any; fresh ones elsewhere, those that start as copies copied (the query FFN of the text's). */
export function startValues(graph: PreparedRun['graph'], seed: number, plugin: BridgePlugin, initial: ParameterSet = new Map()): Map<string, TensorData<'float32'>> {
  const start = initialise(graph.graph, graph.trained, randomAt(seed, 0, 2), initial);
  for (const name of graph.trained) {
    const given = initial.get(name);
    if (given !== undefined && 'data' in given && given.data instanceof Float32Array) start.set(name, { dtype: 'float32', shape: given.shape, data: given.data.slice() });
  }
  for (const name of graph.trained) {
    const source = plugin.initialisedAs?.(name);
    const copied = source === undefined || initial.has(name) ? undefined : start.get(source);
    if (copied !== undefined) start.get(name)!.data.set(copied.data);
  }
  return start;
}
