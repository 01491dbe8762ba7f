/**
 * The Q-Former against HuggingFace transformers: `blip2-itm` and `blip2-opt` are HF's own classes, `qformer-stage1` adds
 * the three objectives on top of HF's layers.
 */
import type { BridgeText, GraphScope, Tensor, TensorData } from '@querent/core';
import { float32, int64 } from '@querent/core';
import { evaPlugin } from '@querent/encoders';
import { concat, createGraph, div, gather, transpose } from '@querent/graph';
import { qformerPlugin } from '@querent/qformer';
import type { QFormer, QFormerConfig } from '@querent/qformer';
import { describe, expect, it } from 'vitest';
import type { Fixture } from './fixture.ts';
import { expectClose, pick, readFixture, runOnce } from './fixture.ts';

interface Model {
  readonly g: GraphScope;
  readonly features: Tensor;
  readonly text: BridgeText;
  readonly bridge: QFormer;
  readonly config: QFormerConfig;
}

/** Tower and bridge of a whole model's config, as the loader puts them together. */
function build({ config, inputs }: Fixture, textBatch = 'batch'): Model {
  const plugin = qformerPlugin;
  const topLevel = Object.fromEntries(plugin.topLevelKeys.filter((key) => key in config).map((key) => [key, config[key]]));
  const qformerConfig: QFormerConfig = { ...plugin.defaults, ...topLevel, ...Object(config['qformer_config']) };
  const visionConfig = { ...evaPlugin.defaults, ...Object(config['vision_config']) };
  const g = createGraph('bridge');
  const pixels = g.input('pixel_values', 'float32', ['batch', ...pick(inputs, 'pixel_values').shape.slice(1)]);
  const features = evaPlugin.build(g.scope('vision_model'), pixels, visionConfig).lastHiddenState;
  const port = (name: string): Tensor => g.input(name, 'int64', [textBatch, 'tokens']);
  const text = { inputIds: port('input_ids'), attentionMask: port('attention_mask') };
  return { g, features, text, bridge: plugin.build(g, qformerConfig), config: qformerConfig };
}

/** The fixture keeps what HF has no names for among its inputs. */
function stage1Weights({ weights, inputs }: Fixture): Map<string, TensorData> {
  const all = new Map(weights);
  for (const [name, tensor] of inputs) if (name.startsWith('lm_head/')) all.set(`cls.predictions.${name.slice('lm_head/'.length)}`, tensor);
  all.set('temp', { ...pick(inputs, 'temp'), shape: [] });
  return all;
}

function feedsOf({ inputs }: Fixture, names: readonly string[]): Record<string, TensorData> {
  return Object.fromEntries(names.map((name) => [name, pick(inputs, name)]));
}

/** [CLS] becomes [DEC]: what ITG reads. */
function withDec(ids: TensorData, dec: number): TensorData {
  const data = Array.from(ids.data, Number);
  for (let i = 0; i < data.length; i += ids.shape[1]!) data[i] = dec;
  return int64(ids.shape, data);
}

const INPUTS = ['pixel_values', 'input_ids', 'attention_mask'];

describe('qformer-stage1', () => {
  it('compares image and text (ITC)', async () => {
    const fixture = await readFixture('qformer-stage1');
    const { g, features, text, bridge } = build(fixture);
    const imageFeatures = bridge.contrast.imageFeatures(bridge.encode(features).queries);
    const textFeatures = bridge.contrast.textFeatures(text);
    const similarity = div(bridge.contrast.similarity(imageFeatures, textFeatures), bridge.contrast.temperature());
    g.output('vision_last_hidden_state', features);
    g.output('image_feats', imageFeatures);
    g.output('text_feats', textFeatures);
    g.output('sim_i2t', similarity);
    g.output('sim_t2i', transpose(similarity, [1, 0]));
    const outputs = await runOnce(g.graph, stage1Weights(fixture), feedsOf(fixture, INPUTS));
    for (const [name, actual] of outputs) expectClose(actual, pick(fixture.expected, name));
  });

  it('matches pairs and hard negatives (ITM)', async () => {
    const fixture = await readFixture('qformer-stage1');
    const { g, features, text, bridge } = build(fixture);
    const self = g.input('self', 'int64', ['batch']);
    const negImage = g.input('neg_image', 'int64', ['batch']);
    const negText = g.input('neg_text', 'int64', ['batch']);
    const rows = concat([self, self, negText], 0);
    const mixed = { inputIds: gather(text.inputIds, rows), attentionMask: gather(text.attentionMask, rows) };
    const images = concat([self, negImage, self], 0);
    g.output('itm_logits', bridge.match(features, mixed, { images }));
    g.output('by_rows', bridge.match(features, text, { images, texts: rows })); // each text once, as long as its rows are alike
    const rowCount = pick(fixture.inputs, 'input_ids').shape[0]!;
    const feeds = { ...feedsOf(fixture, [...INPUTS, 'neg_image', 'neg_text']), self: int64([rowCount], [...Array(rowCount).keys()]) };
    const outputs = await runOnce(g.graph, stage1Weights(fixture), feeds);
    for (const name of ['itm_logits', 'by_rows']) expectClose(pick(outputs, name), pick(fixture.expected, 'itm_logits'));
  });

  it('writes text (ITG) over the query pass, and the same under the joint mask', async () => {
    const fixture = await readFixture('qformer-stage1');
    const { g, features, text, bridge } = build(fixture);
    g.output('itg_logits', bridge.generateText(bridge.encode(features), text));
    g.output('joint', bridge.generateTextJointly(features, text));
    const feeds = feedsOf(fixture, INPUTS);
    const outputs = await runOnce(g.graph, stage1Weights(fixture), { ...feeds, input_ids: withDec(feeds['input_ids']!, Number(fixture.notes['dec_token_id'])) });
    const expected = pick(fixture.expected, 'itg_logits');
    expectClose(pick(outputs, 'itg_logits'), expected, 2e-5, feeds['attention_mask']);
    expectClose(pick(outputs, 'joint'), expected, 2e-5, feeds['attention_mask']);
  });

  it('declares the parameters of the checkpoint, temp and the LM head, and no others', async () => {
    const fixture = await readFixture('qformer-stage1');
    const { g, features, text, bridge } = build(fixture);
    const image = bridge.encode(features);
    bridge.contrast.imageFeatures(image.queries);
    bridge.contrast.textFeatures(text);
    bridge.contrast.temperature();
    bridge.match(features, text);
    bridge.generateText(image, text);
    expect([...g.graph.parameters.keys()].sort()).toEqual([...stage1Weights(fixture).keys()].sort());
  });

  it('changes the text only through the queries: text alone does not need an image', async () => {
    const fixture = await readFixture('qformer-stage1');
    const { g, text, bridge } = build(fixture);
    bridge.encodeText(text);
    expect([...g.graph.parameters.keys()].filter((name) => /crossattention|_query|query_tokens/.test(name))).toEqual([]);
  });
});

describe('blip2-itm', () => {
  it('scores every image against every text as HF does', async () => {
    const fixture = await readFixture('blip2-itm');
    const { g, features, text, bridge } = build(fixture, 'texts');
    const images = bridge.contrast.imageFeatures(bridge.encode(features).queries);
    const texts = bridge.contrast.textFeatures(text);
    const similarity = bridge.contrast.similarity(images, texts);
    const imageRows = g.input('image_rows', 'int64', ['pairs']);
    const textRows = g.input('text_rows', 'int64', ['pairs']);
    g.output('image_embeds', images);
    g.output('text_embeds', texts);
    g.output('itc_logits_per_image', similarity);
    g.output('itc_logits_per_text', transpose(similarity, [1, 0]));
    g.output('itm_logits', bridge.match(features, text, { images: imageRows, texts: textRows }));
    const [imageCount, textCount] = pick(fixture.expected, 'itc_logits_per_image').shape;
    const grid = [...Array(imageCount! * textCount!).keys()];
    const feeds = {
      ...feedsOf(fixture, INPUTS),
      image_rows: int64([grid.length], grid.map((i) => Math.floor(i / textCount!))),
      text_rows: int64([grid.length], grid.map((i) => i % textCount!)),
    };
    const outputs = await runOnce(g.graph, fixture.weights, feeds);
    for (const [name, actual] of outputs) {
      const expected = pick(fixture.expected, name);
      expectClose({ ...actual, shape: name === 'itm_logits' ? expected.shape : actual.shape }, expected);
    }
  });
});

describe('blip2-opt', () => {
  it('reads an image into queries, and says where they looked', async () => {
    const fixture = await readFixture('blip2-opt');
    const { g, features, bridge } = build(fixture);
    const { queries, crossAttentions } = bridge.encode(features);
    g.output('vision_last_hidden_state', features);
    g.output('qformer_last_hidden_state', queries);
    g.output('qformer_cross_attention_0', crossAttentions[0]!);
    expect(crossAttentions[1]).toBeNull();
    const outputs = await runOnce(g.graph, fixture.weights, feedsOf(fixture, INPUTS));
    for (const [name, actual] of outputs) expectClose(actual, pick(fixture.expected, name));
  });
});

describe('llm-bert', () => {
  it('is BERT when it is given text alone', async () => {
    const fixture = await readFixture('llm-bert');
    const { weights, inputs, expected } = fixture;
    const config: QFormerConfig = { ...qformerPlugin.defaults, ...Object(fixture.config) };
    // The Q-Former has no token types: each token gets a row of its own per type, which is the sum of both embeddings.
    const [words, types] = [pick(weights, 'bert.embeddings.word_embeddings.weight'), pick(weights, 'bert.embeddings.token_type_embeddings.weight')];
    const [vocab, width] = [words.shape[0]!, words.shape[1]!];
    const rows = Float32Array.from({ length: types.shape[0]! * vocab * width }, (_, i) => {
      const type = Math.floor(i / (vocab * width));
      return Number(words.data[i % (vocab * width)]) + Number(types.data[type * width + (i % width)]);
    });
    const renamed = new Map<string, TensorData>([['embeddings.word_embeddings.weight', float32([types.shape[0]! * vocab, width], rows)]]);
    for (const [name, tensor] of weights) {
      const own = name.replace('bert.embeddings.LayerNorm', 'qformer.layernorm').replace('bert.encoder', 'qformer.encoder').replace('bert.', '').replace('.self.', '.attention.');
      if (!renamed.has(own)) renamed.set(own, tensor);
    }
    const g = createGraph('bert');
    const text = { inputIds: g.input('input_ids', 'int64', ['batch', 'tokens']), attentionMask: g.input('attention_mask', 'int64', ['batch', 'tokens']) };
    g.output('last_hidden_state', qformerPlugin.build(g, { ...config, vocab_size: types.shape[0]! * vocab }).encodeText(text));
    const [ids, tokenTypes, mask] = ['input_ids', 'token_type_ids', 'attention_mask'].map((name) => pick(inputs, name));
    const typed = int64(ids!.shape, Array.from(ids!.data, Number).map((id, i) => id + vocab * Number(tokenTypes!.data[i])));
    const outputs = await runOnce(g.graph, renamed, { input_ids: typed, attention_mask: mask! });
    expectClose(pick(outputs, 'last_hidden_state'), pick(expected, 'last_hidden_state'), 2e-5, mask);
  });
});
