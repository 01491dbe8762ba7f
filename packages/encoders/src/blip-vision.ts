/** BLIP's image tower (arXiv 2201.12086; HF `BlipVisionModel`): a ViT in the form of `eva.ts`, smaller and for larger images. */
import type { EncoderPlugin } from '@querent/core';
import type { EvaConfig } from './eva.ts';
import eva from './eva.ts';

const NAME = 'blip_vision_model';

const plugin: EncoderPlugin<EvaConfig> = {
  ...eva,
  name: NAME,
  configSchema: {
    ...eva.configSchema,
    description: "BLIP's image tower.",
    properties: {
      ...(eva.configSchema['properties'] as Readonly<Record<string, unknown>>), // a JSON Schema's properties
      model_type: { const: NAME, description: 'Names this encoder.' },
    },
  },
  defaults: {
    model_type: NAME,
    hidden_size: 768,
    num_hidden_layers: 12,
    num_attention_heads: 12,
    intermediate_size: 3072,
    hidden_act: 'gelu',
    layer_norm_eps: 1e-5,
    image_size: 384,
    patch_size: 16,
    qkv_bias: true,
  },
};
export default plugin;
