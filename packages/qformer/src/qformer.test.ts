/** Facts of the Q-Former that need no engine: which parameters it has, who is left out, what it refuses. Numbers: test/parity. */
import type { BridgeText, GraphScope, Tensor } from '@querent/core';
import { elementCount } from '@querent/core';
import { createGraph, grad, reduceSum } from '@querent/graph';
import { describe, expect, it } from 'vitest';
import { QFORMER_DEFAULTS } from './config.ts';
import type { QFormerConfig } from './config.ts';
import instructed from './instruct-qformer.ts';
import plugin from './qformer.ts';

const STAGE_1: QFormerConfig = { ...QFORMER_DEFAULTS, vocab_size: 30523 };
const TINY: QFormerConfig = {
  ...QFORMER_DEFAULTS, vocab_size: 11, hidden_size: 8, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 16, encoder_hidden_size: 6, num_query_tokens: 3,
  image_text_hidden_size: 4, max_position_embeddings: 12,
};

function inputs(g: GraphScope, width: number): { features: Tensor; text: BridgeText } {
  return {
    features: g.input('features', 'float32', ['batch', 257, width]),
    text: { inputIds: g.input('input_ids', 'int64', ['batch', 'tokens']), attentionMask: g.input('attention_mask', 'int64', ['batch', 'tokens']) },
  };
}

function millions(g: GraphScope): number {
  let total = 0;
  for (const { shape } of g.graph.parameters.values()) total += elementCount(shape);
  return Math.round(total / 1e4) / 100;
}

/** All of stage 1 over one graph. */
function stage1(config: QFormerConfig): GraphScope {
  const g = createGraph('stage-1');
  const { features, text } = inputs(g, config.encoder_hidden_size);
  const bridge = plugin.build(g, config);
  const image = bridge.encode(features);
  const similarity = bridge.contrast.similarity(bridge.contrast.imageFeatures(image.queries), bridge.contrast.textFeatures(text));
  expect(similarity.shape).toEqual(['batch', 'batch']);
  expect(bridge.match(features, text).shape).toEqual(['batch', 2]);
  expect(bridge.generateText(image, text).shape).toEqual(['batch', 'tokens', config.vocab_size]);
  bridge.contrast.temperature();
  return g;
}

describe('parameters', () => {
  it('has 186.71 million in stage 1 over ViT-g, the norm over its features included', () => {
    expect(millions(stage1({ ...STAGE_1, vision_layer_norm: true }))).toBe(186.71);
  });

  it('has 183.17 million in stage 1 over ViT-L', () => {
    expect(millions(stage1({ ...STAGE_1, encoder_hidden_size: 1024, vision_layer_norm: true }))).toBe(183.17);
  });

  it('has 105.16 million on the query path, which is all that stage 2 needs', () => {
    const g = createGraph('stage-2');
    const { features } = inputs(g, 1408);
    expect(plugin.build(g, STAGE_1).encode(features).queries.shape).toEqual(['batch', 32, 768]);
    expect(millions(g)).toBe(105.16);
    expect([...g.graph.parameters.keys()].filter((name) => name.startsWith('embeddings.') || name.startsWith('cls.'))).toEqual([]);
  });

  it('looks at the image in every layer when the frequency is 1', () => {
    const g = createGraph('every-layer');
    const { crossAttentions } = plugin.build(g, { ...TINY, cross_attention_frequency: 1 }).encode(inputs(g, 6).features);
    expect(crossAttentions.map((map) => map?.shape)).toEqual(Array(2).fill(['batch', 2, 3, 257]));
  });

  it("starts the queries' feed-forward from the text's", () => {
    expect(plugin.initialisedAs?.('qformer.encoder.layer.0.output_query.LayerNorm.bias')).toBe('qformer.encoder.layer.0.output.LayerNorm.bias');
    expect(plugin.initialisedAs?.('qformer.encoder.layer.0.intermediate_query.dense.weight')).toBe('qformer.encoder.layer.0.intermediate.dense.weight');
    expect(plugin.initialisedAs?.('qformer.encoder.layer.0.attention.attention.query.weight')).toBeUndefined();
    expect(plugin.initialisedAs?.('query_tokens')).toBeUndefined();
  });
});

describe('graphs', () => {
  it('projects the image once for all passes that look at it', () => {
    const g = stage1(TINY);
    const wide = [...g.graph.nodes].filter((node) => node.opType === 'Gemm' && node.inputs[1]?.name.includes('crossattention.attention.key'));
    expect(wide).toHaveLength(1);
  });

  it('has a gradient for every parameter', () => {
    const config = { ...TINY, vision_layer_norm: true };
    const g = createGraph('gradients');
    const { features, text } = inputs(g, 6);
    const bridge = plugin.build(g, config);
    const logits = bridge.generateText(bridge.encode(features), text);
    const parameters = [...g.graph.parameters.values()];
    const gradients = grad(reduceSum(logits, [0, 1, 2], false), parameters.map((parameter) => parameter.tensor));
    gradients.forEach((gradient, i) => expect(gradient.shape).toEqual(parameters[i]!.shape));
  });

  it("applies dropout after the embeddings and before each residual sum", () => {
    const places: number[] = [];
    const g = createGraph('dropout');
    const bridge = plugin.build(g, TINY, { dropout: (x) => (places.push(x.shape.length), x) });
    bridge.encode(inputs(g, 6).features);
    expect(places).toHaveLength(1 + 3 + 2); // embeddings; layer 0: self, cross, feed-forward; layer 1: self, feed-forward
  });
});

describe("InstructBLIP's", () => {
  const config: QFormerConfig = { ...TINY, model_type: 'instructblip_qformer', use_qformer_text_input: true };

  it('reads the instruction, and gives only the queries on', () => {
    const g = createGraph('instructed');
    const { features, text } = inputs(g, 6);
    const bridge = instructed.build(g, config);
    expect(bridge.encode(features, text).queries.shape).toEqual(['batch', 3, 8]);
    expect(bridge.readJointly(features, text).shape).toEqual(['batch', 'tokens + 3', 8]);
    const names = [...g.graph.parameters.keys()];
    expect(names.filter((name) => name.includes('embeddings.')).toSorted()).toEqual([
      'qformer.embeddings.layernorm.bias', 'qformer.embeddings.layernorm.weight', 'qformer.embeddings.position_embeddings.weight', 'qformer.embeddings.word_embeddings.weight',
    ]);
  });

  it('reads an image without one by its queries alone', () => {
    const g = createGraph('alone');
    const { pastKeyValues } = instructed.build(g, config).encode(inputs(g, 6).features);
    expect(pastKeyValues).toHaveLength(2);
    expect([...g.graph.parameters.keys()].filter((name) => /word|position|\.(intermediate|output)\./.test(name) && !/attention/.test(name))).toEqual([]);
  });

  it('has the number of parameters of the published one (transformers, on the meta device)', () => {
    const g = createGraph('vicuna');
    const { features, text } = inputs(g, 1408);
    instructed.build(g, { ...instructed.defaults, vocab_size: 30523 }).encode(features, text);
    const count = [...g.graph.parameters.values()].reduce((sum, { shape }) => sum + elementCount(shape), 0);
    expect(count).toBe(185_660_160 + 24_576); // Q-Former and queries of instructblip-vicuna-7b
  });
});

describe('refusals', () => {
  it("refuses features of another width than the config's", () => {
    const g = createGraph('width');
    expect(() => plugin.build(g, TINY).encode(inputs(g, 7).features)).toThrow(/\[batch, 257, 7\]; expected \[batch, patches, 6\]/);
  });

  it('refuses to write text over what it read together with a text', () => {
    const g = createGraph('cache');
    const { features, text } = inputs(g, 6);
    const bridge = plugin.build(g, TINY);
    expect(() => bridge.generateText(bridge.encode(features, text), text)).toThrow(/keys and values of 2 layers, it was given 0/);
  });

  it('refuses an activation that it does not know', () => {
    const g = createGraph('activation');
    expect(() => plugin.build(g, { ...TINY, hidden_act: 'constructor' }).encode(inputs(g, 6).features)).toThrow(/hidden_act is "constructor"/);
  });
});
