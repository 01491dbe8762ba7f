/**
 * Stage 1 of BLIP-2 as one graph: the queries learn to see what a text says. ITC, ITM and ITG share one pass of the
 * queries over the image; each has its own mask (see the Q-Former). Read `itc.ts`, `itm.ts`, `itg.ts` for the losses.
 */
import type { Bridge, BridgeEncoding, Tensor } from '@querent/core';
import { QuerentError, int64 } from '@querent/core';
import { add, concat, constant, equal, filled, cast, mul, range, slice, where } from '@querent/graph';
import { itc } from './itc.ts';
import { IGNORED, itg } from './itg.ts';
import type { HardNegatives } from './itm.ts';
import { drawHardNegatives, itm } from './itm.ts';

/** Weights of the three losses; 0 leaves an objective out of the graph. BLIP-2 has 1 : 1 : 1. */
export interface Stage1Weights {
  readonly itc: number;
  readonly itm: number;
  readonly itg: number;
}

export interface Stage1Inputs {
  /** float32 [batch, patches, width] */
  readonly features: Tensor;
  /** int64 [batch, tokens]: [CLS] … [SEP], padded on the right. */
  readonly inputIds: Tensor;
  readonly attentionMask: Tensor;
  /** int64 [batch] */
  readonly imageIds: Tensor;
  /** What the bridge made of the features, where somebody else reads it too. Default: it is computed here. */
  readonly image?: BridgeEncoding;
  /** Gumbel noise float32 [batch, batch] each, or negatives that are already drawn. Needed by ITM. */
  readonly negatives?: { readonly images: Tensor; readonly texts: Tensor } | HardNegatives;
}

export interface Stage1Options {
  readonly weights: Stage1Weights;
  /** [DEC]: takes [CLS]'s place in ITG. */
  readonly decoderToken: number;
  /** Of ITC and ITG. Default 0.1. */
  readonly labelSmoothing?: number;
}

/** `loss` and its parts by name: `loss_itc`, `loss_itm`, `loss_itg`. */
export type Stage1Losses = { readonly loss: Tensor } & Readonly<Record<string, Tensor>>;

/** @throws QuerentError QRT_PLUGIN_INVALID when the bridge lacks an objective that is asked for. */
export function stage1(bridge: Bridge, inputs: Stage1Inputs, options: Stage1Options): Stage1Losses {
  const { weights } = options;
  const labelSmoothing = options.labelSmoothing ?? 0.1;
  const text = { inputIds: inputs.inputIds, attentionMask: inputs.attentionMask };
  const image = inputs.image ?? bridge.encode(inputs.features);
  const losses: Record<string, Tensor> = {};

  if (weights.itc > 0 || weights.itm > 0) {
    const contrast = need(bridge.contrast, 'contrast (ITC)');
    const cosine = contrast.similarity(contrast.imageFeatures(image.queries), contrast.textFeatures(text));
    const { loss, similarity } = itc({ cosine, temperature: contrast.temperature(), imageIds: inputs.imageIds, labelSmoothing });
    if (weights.itc > 0) losses['loss_itc'] = loss;
    if (weights.itm > 0) losses['loss_itm'] = matching(bridge, inputs, similarity);
  }
  if (weights.itg > 0) {
    const generate = need(bridge.generateText, 'generateText (ITG)');
    const { inputIds, attentionMask } = text;
    const [said, next] = [(x: Tensor): Tensor => slice(x, 1, 0, -1), (x: Tensor): Tensor => slice(x, 1, 1, Infinity)]; // [batch, tokens - 1]
    const first = slice(inputIds, 1, 0, 1);
    const decoderToken = add(mul(first, 0), constant(first, int64([1, 1], [options.decoderToken])));
    const logits = generate(image, { inputIds: concat([decoderToken, slice(inputIds, 1, 1, -1)], 1), attentionMask: said(attentionMask) });
    losses['loss_itg'] = itg(logits, where(equal(next(attentionMask), 0), IGNORED, next(inputIds)), labelSmoothing);
  }
  const weighted = Object.entries(losses).map(([name, loss]) => {
    const weight = { loss_itc: weights.itc, loss_itm: weights.itm, loss_itg: weights.itg }[name] ?? 1;
    return weight === 1 ? loss : mul(loss, weight);
  });
  if (weighted.length === 0) throw new QuerentError('QRT_USAGE', 'All three objectives of stage 1 have weight 0.', { fix: 'Give at least one a positive weight.' });
  return { loss: weighted.reduce((a, b) => add(a, b)), ...losses };
}

/** Rows: the true pairs, then each text with a wrong image, then each image with a wrong text; labels 1, 0, 0. */
function matching(bridge: Bridge, inputs: Stage1Inputs, similarity: Tensor): Tensor {
  const match = need(bridge.match, 'match (ITM)');
  const { negatives, inputIds, attentionMask } = inputs;
  if (negatives === undefined) throw new QuerentError('QRT_USAGE', 'ITM needs noise to draw its negatives, or the negatives.');
  const drawn = 'images' in negatives ? drawHardNegatives(similarity, inputs.imageIds, negatives) : negatives;
  const own = range(inputIds, inputIds.shape[0]!);
  const rows = { images: concat([own, drawn.image, own], 0), texts: concat([own, own, drawn.text], 0) };
  const logits = match(inputs.features, { inputIds, attentionMask }, rows);
  const ones = cast(filled(own, own.shape, 1), 'int64');
  const zeros = cast(filled(own, own.shape, 0), 'int64');
  return itm(logits, concat([ones, zeros, zeros], 0));
}

function need<T>(part: T | undefined, what: string): T {
  if (part === undefined) {
    throw new QuerentError('QRT_PLUGIN_INVALID', `This bridge has no ${what}, which the recipe asks for.`, { fix: 'Give that objective the weight 0, or use the Q-Former.' });
  }
  return part;
}
