/**
 * Stage 1 against PyTorch's autograd: the three losses and their sum, and the gradients of each, of the whole Q-Former over a
 * frozen EVA tower. The negatives of ITM are given.
 */
import type { TensorData } from '@querent/core';
import { float32, int64 } from '@querent/core';
import { createOnnxEngine } from '@querent/engine-onnx';
import { evaPlugin } from '@querent/encoders';
import { createGraph, grad } from '@querent/graph';
import { qformerPlugin } from '@querent/qformer';
import type { QFormerConfig } from '@querent/qformer';
import { itc, stage1 } from '@querent/training';
import { describe, expect, it } from 'vitest';
import type { Fixture } from './fixture.ts';
import { expectClose, pick, readFixture, runOnce } from './fixture.ts';

/** Of each tensor's largest magnitude; float32 against float64 was measured as up to 3e-6 when the fixtures were made. */
const GRADIENT_TOLERANCE = 2e-5;
const LOSSES = ['loss', 'loss_itc', 'loss_itm', 'loss_itg'];

/** The fixture keeps what HuggingFace has no names for among its inputs. */
function stage1Weights({ weights, inputs }: Fixture): Map<string, TensorData> {
  const all = new Map(weights);
  for (const [name, tensor] of inputs) if (name.startsWith('lm_head/')) all.set(`cls.predictions.${name.slice('lm_head/'.length)}`, tensor);
  all.set('temp', { ...pick(inputs, 'temp'), shape: [] });
  return all;
}

function build({ config, inputs, notes }: Fixture) {
  const topLevel = Object.fromEntries(qformerPlugin.topLevelKeys.filter((key) => key in config).map((key) => [key, config[key]]));
  const qformerConfig: QFormerConfig = { ...qformerPlugin.defaults, ...topLevel, ...Object(config['qformer_config']) };
  const g = createGraph('stage1');
  const pixels = g.input('pixel_values', 'float32', ['batch', ...pick(inputs, 'pixel_values').shape.slice(1)]);
  const features = evaPlugin.build(g.scope('vision_model'), pixels, { ...evaPlugin.defaults, ...Object(config['vision_config']) }).lastHiddenState;
  const bridge = qformerPlugin.build(g, qformerConfig);
  const text = {
    inputIds: g.input('input_ids', 'int64', ['batch', 'tokens']),
    attentionMask: g.input('attention_mask', 'int64', ['batch', 'tokens']),
  };
  const imageIds = g.input('image_ids', 'int64', ['batch']);
  const negatives = { image: g.input('neg_image', 'int64', ['batch']), text: g.input('neg_text', 'int64', ['batch']) };
  const weights = { itc: 1, itm: 1, itg: 1 };
  const losses = stage1(bridge, { features, ...text, imageIds, negatives }, { weights, decoderToken: Number(notes['dec_token_id']) });
  return { g, bridge, features, text, imageIds, losses };
}

/** Each image is another: the fixture's pairs are one to one. */
function feedsOf({ inputs }: Fixture): Record<string, TensorData> {
  const batch = pick(inputs, 'input_ids').shape[0]!;
  const names = ['pixel_values', 'input_ids', 'attention_mask', 'neg_image', 'neg_text'];
  return { ...Object.fromEntries(names.map((name) => [name, pick(inputs, name)])), image_ids: int64([batch], [...Array(batch).keys()]) };
}

describe('stage 1', () => {
  it('has the three losses of the fixture, and their sum', async () => {
    const fixture = await readFixture('qformer-stage1');
    const { g, bridge, features, text, imageIds, losses } = build(fixture);
    for (const name of LOSSES) g.output(name, losses[name]!);
    const { contrast } = bridge;
    const cosine = contrast.similarity(contrast.imageFeatures(bridge.encode(features).queries), contrast.textFeatures(text));
    const parts = itc({ cosine, temperature: contrast.temperature(), imageIds });
    g.output('loss_itc_i2t', parts.lossI2t);
    g.output('loss_itc_t2i', parts.lossT2i);
    const outputs = await runOnce(g.graph, stage1Weights(fixture), feedsOf(fixture));
    for (const [name, actual] of outputs) expectClose({ ...actual, shape: [1] }, pick(fixture.expected, name), 1e-5);
    expect(outputs.size).toBe(6);
  });

  it.each(LOSSES)('%s has the gradients of the fixture', async (loss) => {
    const fixture = await readFixture('qformer-stage1');
    const weights = stage1Weights(fixture);
    const { g, losses } = build(fixture);
    const prefix = `grad/${loss}/`;
    const names = [...fixture.expected.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
    expect(names.length).toBeGreaterThanOrEqual(5);
    const gradients = grad(losses[loss]!, names.map((name) => g.graph.parameters.get(name)!.tensor));
    names.forEach((name, i) => g.output(prefix + name, gradients[i]!));
    const outputs = await runOnce(g.graph, weights, feedsOf(fixture));
    for (const [name, actual] of outputs) {
      const expected = pick(fixture.expected, name);
      expectClose({ ...actual, shape: expected.shape }, expected, GRADIENT_TOLERANCE);
    }
  });

  it('learns with its weights as inputs: a small step against the gradient lowers the loss', async () => {
    const fixture = await readFixture('qformer-stage1');
    const weights = stage1Weights(fixture);
    const { g, losses } = build(fixture);
    const trained = [...g.graph.parameters.values()].filter(({ name }) => !name.startsWith('vision_model.'));
    const before = g.graph.nodes.length;
    const gradients = grad(losses.loss, trained.map(({ tensor }) => tensor));
    g.output('loss', losses.loss);
    trained.forEach(({ name }, i) => g.output(`grad/${name}`, gradients[i]!));
    expect(g.graph.nodes.slice(before).filter((node) => node.inputs.some((input) => input?.name.startsWith('vision_model.')))).toEqual([]);
    await using engine = createOnnxEngine({ threads: 1 });
    const frozen = new Map([...weights].filter(([name]) => name.startsWith('vision_model.')));
    await using step = await engine.compile(g.graph, frozen, { asInputs: trained.map(({ name }) => name), purpose: 'training' });
    const parameters = Object.fromEntries(trained.map(({ name }) => [name, pick(weights, name)]));
    const outputs = await step.run({ ...feedsOf(fixture), ...parameters });
    const loss = Number(outputs['loss']!.data[0]);
    const rate = 1e-3;
    let squared = 0;
    const moved = Object.fromEntries(trained.map(({ name }) => {
      const [values, gradient] = [parameters[name]!, outputs[`grad/${name}`]!];
      expect(gradient.shape).toEqual(values.shape);
      return [name, float32(values.shape, Float32Array.from({ length: values.data.length }, (_, i) => {
        squared += Number(gradient.data[i]) ** 2;
        return Number(values.data[i]) - rate * Number(gradient.data[i]);
      }))];
    }));
    const after = Number((await step.run({ ...feedsOf(fixture), ...moved }, { outputs: ['loss'] }))['loss']!.data[0]);
    // First order: the loss falls by rate · |g|². Curvature takes some of it back.
    expect((loss - after) / (rate * squared)).toBeGreaterThan(0.5);
    expect((loss - after) / (rate * squared)).toBeLessThan(1.2);
  });
});
