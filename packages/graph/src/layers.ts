/**
 * The only layers that models share. A layer takes the scope that spells its parameters (`weight`, `bias`, PyTorch's
 * layouts) and its input; shapes are in the comments at the end of the lines that change them.
 */
import type { Dim, Initialiser, Scope, Tensor } from '@querent/core';
import { multiplyDims } from './dims.ts';
import { add, cast, div, equal, mul, not, sub, where } from './ops/elementwise.ts';
import { fusedMatMul, gemm } from './ops/linear-algebra.ts';
import { conv, layerNormalization, rmsNormalization, softmax, softmaxCrossEntropyLoss } from './ops/neural.ts';
import { scalar } from './ops/op.ts';
import { reduceMean, reduceSum } from './ops/reductions.ts';
import { gather, reshape, transpose } from './ops/shaping.ts';

/** BERT's and GPT-2's standard deviation for weights. */
export const DEFAULT_STD = 0.02;

const ONES: Initialiser = { kind: 'constant', value: 1 };

export interface LinearOptions {
  /** Default true. */
  readonly bias?: boolean;
  /** Standard deviation of fresh weights. Default 0.02. */
  readonly std?: number;
}

/** `x @ weight.T + bias` over the last axis (torch.nn.Linear: weight [out, in]). Leading axes are flattened into one Gemm. */
export function linear(g: Scope, x: Tensor, outFeatures: number, options: LinearOptions = {}): Tensor {
  const inFeatures = Number(x.shape.at(-1));
  const weight = g.parameter('weight', [outFeatures, inFeatures], { initialiser: { kind: 'normal', std: options.std ?? DEFAULT_STD } });
  const bias = options.bias === false ? null : g.parameter('bias', [outFeatures]);
  return linearWith(x, weight, bias);
}

/** {@link linear} with tensors at hand: for tied and packed weights. */
export function linearWith(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
  if (x.shape.length === 2) return gemm(x, weight, bias, { transB: true });
  const flat = gemm(reshape(x, [-1, x.shape.at(-1)!]), weight, bias, { transB: true }); // [rows, out]
  return reshape(flat, [...x.shape.slice(0, -1), weight.shape[0]!]);
}

/** torch.nn.LayerNorm over the last axis. */
export function layerNorm(g: Scope, x: Tensor, epsilon: number): Tensor {
  const width = Number(x.shape.at(-1));
  return layerNormalization(x, g.parameter('weight', [width], { initialiser: ONES }), g.parameter('bias', [width]), epsilon);
}

/** Root mean square norm (Zhang and Sennrich 2019; HF `LlamaRMSNorm`, `T5LayerNorm`): no mean, no bias. */
export function rmsNorm(g: Scope, x: Tensor, epsilon: number): Tensor {
  return rmsNormalization(x, g.parameter('weight', [Number(x.shape.at(-1))], { initialiser: ONES }), epsilon);
}

/** Rows of a table [count, width], picked by int64 ids of any shape. */
export function embedding(g: Scope, ids: Tensor, count: number, width: number, std: number = DEFAULT_STD): Tensor {
  return gather(g.parameter('weight', [count, width], { initialiser: { kind: 'normal', std } }), ids);
}

export interface Conv2dOptions {
  readonly kernel: number;
  readonly stride?: number;
  /** On all sides, or `[top, left, bottom, right]`. */
  readonly padding?: number | readonly [number, number, number, number];
  readonly groups?: number;
  readonly bias?: boolean;
}

/** torch.nn.Conv2d on [batch, channels, height, width]; He-normal when fresh. */
export function conv2d(g: Scope, x: Tensor, outChannels: number, options: Conv2dOptions): Tensor {
  const groups = options.groups ?? 1;
  const perGroup = Number(x.shape[1]) / groups;
  const std = Math.sqrt(2 / (perGroup * options.kernel ** 2));
  const weight = g.parameter('weight', [outChannels, perGroup, options.kernel, options.kernel], { initialiser: { kind: 'normal', std } });
  const bias = options.bias === false ? null : g.parameter('bias', [outChannels]);
  const padding = options.padding ?? 0;
  return conv(x, weight, bias, {
    strides: [options.stride ?? 1, options.stride ?? 1],
    pads: typeof padding === 'number' ? [padding, padding, padding, padding] : padding,
    group: groups,
  });
}

/** [batch, tokens, heads * headWidth] → [batch, heads, tokens, headWidth]. */
export function splitHeads(x: Tensor, heads: number): Tensor {
  const [batch, tokens, hidden] = x.shape;
  return transpose(reshape(x, [batch!, tokens!, heads, Number(hidden) / heads]), [0, 2, 1, 3]);
}

/** [batch, heads, tokens, headWidth] → [batch, tokens, heads * headWidth]. */
export function mergeHeads(x: Tensor): Tensor {
  const [batch, heads, tokens, headWidth] = x.shape;
  return reshape(transpose(x, [0, 2, 1, 3]), [batch!, tokens!, multiplyDims(heads!, headWidth!)]);
}

export interface AttentionOptions {
  /** Added to the scores: 0 where a query may look, a large negative number where not. Broadcasts to [batch, heads, queries, keys]. */
  readonly mask?: Tensor;
  /** Default 1 / sqrt(headWidth). */
  readonly scale?: number;
}

export interface AttentionOutput {
  /** [batch, heads, queries, headWidth] */
  readonly output: Tensor;
  /** [batch, heads, queries, keys] */
  readonly probabilities: Tensor;
}

/** `softmax(q kᵀ · scale + mask) v` (Vaswani 2017, eq. 1) on [batch, heads, tokens, headWidth]. */
export function scaledDotProductAttention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): AttentionOutput {
  const scale = options.scale ?? 1 / Math.sqrt(Number(q.shape.at(-1)));
  const scores = fusedMatMul(q, k, { transB: true, alpha: scale }); // [batch, heads, queries, keys]
  const probabilities = softmax(options.mask === undefined ? scores : add(scores, options.mask));
  return { output: fusedMatMul(probabilities, v), probabilities };
}

export interface CrossEntropyLayerOptions {
  /** Share of the target spread evenly over all classes. Default 0. */
  readonly labelSmoothing?: number;
  /** Labels with this value do not count. Default -100. */
  readonly ignoreIndex?: number;
}

export interface CrossEntropy {
  /** Mean over the labels that count: a scalar. */
  readonly loss: Tensor;
  /** Per row, 0 where ignored: [rows]. */
  readonly perRow: Tensor;
}

/** torch.nn.CrossEntropyLoss of logits [..., classes] against int64 labels [...]. */
export function crossEntropy(logits: Tensor, labels: Tensor, options: CrossEntropyLayerOptions = {}): CrossEntropy {
  const ignore = options.ignoreIndex ?? -100;
  const smoothing = options.labelSmoothing ?? 0;
  const classes: Dim = logits.shape.at(-1)!;
  const rows = reshape(logits, [-1, classes]); // [rows, classes]
  const targets = reshape(labels, [-1]); // [rows]
  const counts = cast(not(equal(targets, scalar(targets, ignore, 'int64'))), 'float32');
  const [nll, logProbabilities] = softmaxCrossEntropyLoss(rows, targets, { ignoreIndex: ignore, reduction: 'none' });
  const perRow =
    smoothing === 0
      ? nll
      : sub(mul(nll, 1 - smoothing), mul(mul(reduceMean(logProbabilities, [1], false), counts), smoothing));
  const total = reduceSum(counts, [0], false);
  // A batch without a single label has loss 0, not NaN.
  const divisor = where(equal(total, 0), scalar(total, 1), total);
  return { loss: div(reduceSum(perRow, [0], false), divisor), perRow };
}
