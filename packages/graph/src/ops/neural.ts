/** Normalisation, soft-max, convolution, pooling and the fused loss. */
import type { Attribute, Tensor } from '@querent/core';
import { float, int, ints, op, op1, text } from './op.ts';

export function softmax(x: Tensor, axis = -1): Tensor {
  return op1('Softmax', [x], { attributes: { axis: int(axis) } });
}

export function logSoftmax(x: Tensor, axis = -1): Tensor {
  return op1('LogSoftmax', [x], { attributes: { axis: int(axis) } });
}

/** `(x - mean) / sqrt(variance + epsilon) * scale + bias` over the axes from `axis` on. */
export function layerNormalization(x: Tensor, scale: Tensor, bias: Tensor | null, epsilon: number, axis = -1): Tensor {
  return op1('LayerNormalization', bias === null ? [x, scale] : [x, scale, bias], {
    attributes: { axis: int(axis), epsilon: float(epsilon) },
  });
}

/** `x / sqrt(mean(x²) + epsilon) * scale` over the last axis (ONNX 23). */
export function rmsNormalization(x: Tensor, scale: Tensor, epsilon: number): Tensor {
  return op1('RMSNormalization', [x, scale], { attributes: { axis: int(-1), epsilon: float(epsilon) } });
}

export interface ConvOptions {
  readonly strides?: readonly number[];
  /** Before each spatial axis, then after each. */
  readonly pads?: readonly number[];
  readonly dilations?: readonly number[];
  readonly group?: number;
}

function convAttributes(options: ConvOptions): Record<string, Attribute> {
  return {
    strides: ints(options.strides ?? [1, 1]),
    pads: ints(options.pads ?? [0, 0, 0, 0]),
    dilations: ints(options.dilations ?? [1, 1]),
    group: int(options.group ?? 1),
  };
}

/** 2-D convolution of [batch, channels, height, width] with [out, channels / group, kernel, kernel]. */
export function conv(x: Tensor, w: Tensor, b: Tensor | null = null, options: ConvOptions = {}): Tensor {
  return op1('Conv', b === null ? [x, w] : [x, w, b], {
    attributes: { ...convAttributes(options), kernel_shape: ints(w.shape.slice(2).map(Number)) },
  });
}

export interface PoolOptions {
  readonly kernel: readonly number[];
  readonly strides?: readonly number[];
  readonly pads?: readonly number[];
}

function pooling(opType: string, x: Tensor, options: PoolOptions): Tensor {
  return op1(opType, [x], {
    attributes: {
      kernel_shape: ints(options.kernel),
      strides: ints(options.strides ?? options.kernel),
      pads: ints(options.pads ?? options.kernel.flatMap(() => [0, 0])),
    },
  });
}

export function averagePool(x: Tensor, options: PoolOptions): Tensor {
  return pooling('AveragePool', x, options);
}

export function maxPool(x: Tensor, options: PoolOptions): Tensor {
  return pooling('MaxPool', x, options);
}

export function globalAveragePool(x: Tensor): Tensor {
  return op1('GlobalAveragePool', [x]);
}

export interface CrossEntropyOptions {
  readonly ignoreIndex?: number;
  readonly reduction?: 'none' | 'mean' | 'sum';
}

/** Cross-entropy of scores [n, classes] against int64 labels [n]: `[loss, logProbabilities]`. */
export function softmaxCrossEntropyLoss(scores: Tensor, labels: Tensor, options: CrossEntropyOptions = {}): [Tensor, Tensor] {
  const attributes: Record<string, Attribute> = { reduction: text(options.reduction ?? 'mean') };
  if (options.ignoreIndex !== undefined) attributes['ignore_index'] = int(options.ignoreIndex);
  const [loss, logProbabilities] = op('SoftmaxCrossEntropyLoss', [scores, labels], { attributes });
  return [loss!, logProbabilities!];
}
