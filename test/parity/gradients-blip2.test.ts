/**
 * Stage 2 against PyTorch's autograd: the loss of a frozen language model behind the soft prompt, and what of it comes back
 * through the language model to the projection and the Q-Former.
 */
import type { LanguageModelPlugin, ParameterSet, Tensor, TensorData } from '@querent/core';
import { int64 } from '@querent/core';
import { evaPlugin } from '@querent/encoders';
import { createGraph, grad, linear } from '@querent/graph';
import { opt, t5 } from '@querent/llm-adapters';
import { qformerPlugin } from '@querent/qformer';
import type { QFormerConfig } from '@querent/qformer';
import { describe, expect, it } from 'vitest';
import type { Fixture } from './fixture.ts';
import { expectClose, pick, readFixture, runOnce } from './fixture.ts';

/**
 * Of each tensor's largest magnitude. Float32 against float64 was measured as up to 3e-6 for OPT when the fixtures were made. T5 does
 * not scale its attention, which magnifies rounding: measured 1.3e-4, with losses that agree to 2e-6.
 */
const GRADIENT_TOLERANCE = { opt: 2e-5, t5: 1e-3 };
const IGNORED = -100;

function softPromptOf({ config, inputs }: Fixture, width: number) {
  const topLevel = Object.fromEntries(qformerPlugin.topLevelKeys.filter((key) => key in config).map((key) => [key, config[key]]));
  const qformerConfig: QFormerConfig = { ...qformerPlugin.defaults, ...topLevel, ...Object(config['qformer_config']) };
  const g = createGraph('stage2');
  const pixels = g.input('pixel_values', 'float32', ['batch', ...pick(inputs, 'pixel_values').shape.slice(1)]);
  const features = evaPlugin.build(g.scope('vision_model'), pixels, { ...evaPlugin.defaults, ...Object(config['vision_config']) }).lastHiddenState;
  const { queries } = qformerPlugin.build(g, qformerConfig).encode(features);
  return { g, queries: qformerConfig.num_query_tokens, softPrompt: linear(g.scope('language_projection'), queries, width) };
}

/** A row of tokens from `start(row)` on, filled up with `filler` on the right. */
function rowsFrom(tokens: TensorData, start: (row: number) => number, filler: number): TensorData {
  const [batch, length] = tokens.shape as [number, number];
  const rows = Array.from({ length: batch }, (_, row) => Array.from(tokens.data.slice(row * length + start(row), (row + 1) * length), Number));
  const longest = Math.max(...rows.map((row) => row.length));
  return int64([batch, longest], rows.flatMap((row) => [...row, ...Array<number>(longest - row.length).fill(filler)]));
}

/** Where the text begins, behind padding on the left and the image's placeholders. */
function textStart({ config, inputs }: Fixture): (row: number) => number {
  const ids = pick(inputs, 'input_ids');
  const length = ids.shape[1]!;
  return (row) => Array.from(ids.data.slice(row * length, (row + 1) * length), Number).lastIndexOf(Number(config['image_token_index'])) + 1;
}

async function expectGradients(fixture: Fixture, loss: Tensor, feeds: Readonly<Record<string, TensorData>>, tolerance: number): Promise<void> {
  const { graph } = loss;
  const names = [...fixture.expected.keys()].filter((name) => name.startsWith('grad/'));
  expect(names.length).toBe(5);
  const gradients = grad(loss, names.map((name) => graph.parameters.get(name.slice('grad/'.length))!.tensor));
  graph.outputs.set('loss', loss);
  names.forEach((name, i) => graph.outputs.set(name, gradients[i]!));
  const weights: ParameterSet = fixture.weights;
  const outputs = await runOnce(graph, weights, feeds);
  expectClose({ ...pick(outputs, 'loss'), shape: [1] }, pick(fixture.expected, 'loss'), 1e-5);
  for (const name of names) expectClose(pick(outputs, name), pick(fixture.expected, name), tolerance);
}

function lossOf(fixture: Fixture, plugin: LanguageModelPlugin, hasPrompt: boolean): Tensor {
  const textConfig: unknown = { ...Object(fixture.config['text_config']) };
  const { g, softPrompt } = softPromptOf(fixture, plugin.width(textConfig));
  const prompt = hasPrompt
    ? { promptIds: g.input('input_ids', 'int64', ['batch', 'prompt']), promptMask: g.input('attention_mask', 'int64', ['batch', 'prompt']) }
    : {};
  const labels = g.input('labels', 'int64', ['batch', 'labels']);
  return plugin.loss(g.scope('language_model'), { softPrompt, ...prompt, labels }, textConfig).loss;
}

describe('gradients through a frozen language model', () => {
  it('OPT: every text token is a label of the soft prompt', async () => {
    const fixture = await readFixture('blip2-opt');
    const start = textStart(fixture);
    const labels = rowsFrom(pick(fixture.inputs, 'labels'), start, IGNORED);
    await expectGradients(fixture, lossOf(fixture, opt as LanguageModelPlugin, false), { pixel_values: pick(fixture.inputs, 'pixel_values'), labels }, GRADIENT_TOLERANCE.opt);
  });

  it('Flan-T5: the text is the encoder\'s prompt, the labels are the decoder\'s', async () => {
    const fixture = await readFixture('blip2-t5');
    const start = textStart(fixture);
    const feeds = {
      pixel_values: pick(fixture.inputs, 'pixel_values'),
      input_ids: rowsFrom(pick(fixture.inputs, 'input_ids'), start, 0),
      attention_mask: rowsFrom(pick(fixture.inputs, 'attention_mask'), start, 0),
      labels: pick(fixture.inputs, 'labels'),
    };
    await expectGradients(fixture, lossOf(fixture, t5 as LanguageModelPlugin, true), feeds, GRADIENT_TOLERANCE.t5);
  });
});
