/**
 * NAME: patches of an image, embedded, normed, through a feed-forward block. Change it into your encoder: each scope and parameter
 * spells a tensor of the checkpoint (`embeddings.projection.weight`), so that published weights load as they are.
 */
import { defineEncoder } from '@querent/core';
import type { EncoderConfig, EncoderOutput, EncoderPlugin, Scope, Tensor } from '@querent/core';
import { add, conv2d, gelu, layerNorm, linear, reshape, transpose } from '@querent/graph';

/** The keys of `vision_config`, as HuggingFace spells them. */
export interface Config extends EncoderConfig {
  readonly hidden_size: number;
  readonly image_size: number;
  readonly patch_size: number;
}

/** Patches along one side. */
const side = (config: Config): number => Math.floor(config.image_size / config.patch_size);

function build(g: Scope, pixelValues: Tensor, config: Config): EncoderOutput {
  const { hidden_size: hidden, patch_size: patch } = config;
  const map = conv2d(g.scope('embeddings', 'projection'), pixelValues, hidden, { kernel: patch, stride: patch }); // [batch, hidden, rows, columns]
  const patches = transpose(reshape(map, [map.shape[0]!, hidden, side(config) ** 2]), [0, 2, 1]); // [batch, patches, hidden]
  const inner = gelu(linear(g.scope('mlp', 'fc1'), layerNorm(g.scope('norm'), patches, 1e-6), 4 * hidden));
  return { lastHiddenState: add(patches, linear(g.scope('mlp', 'fc2'), inner, hidden)) };
}

const plugin: EncoderPlugin<Config> = defineEncoder<Config>({
  name: 'NAME', // the model_type that asks for it
  description: 'One convolution and one feed-forward block.',
  configSchema: {
    type: 'object',
    required: ['model_type'],
    properties: {
      model_type: { const: 'NAME', description: 'Names this encoder.' },
      hidden_size: { type: 'integer', minimum: 1, maximum: 65536, description: 'Width of the features.' },
      image_size: { type: 'integer', minimum: 1, maximum: 4096, description: 'Side of the image in pixels.' },
      patch_size: { type: 'integer', minimum: 1, maximum: 4096, description: 'Side of a patch in pixels.' },
    },
  },
  defaults: { model_type: 'NAME', hidden_size: 32, image_size: 32, patch_size: 8 },
  preprocess: ({ image_size: size }) => ({
    do_resize: true,
    size: { height: size, width: size },
    resample: 3, // bicubic
    do_center_crop: false,
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: [0.5, 0.5, 0.5],
    image_std: [0.5, 0.5, 0.5],
    do_convert_rgb: true,
  }),
  width: (config) => config.hidden_size,
  patches: (config) => side(config) ** 2,
  build,
  layers: () => 2,
  layerOf: (name) => (name.startsWith('embeddings.') ? 0 : 1),
});
export default plugin;
