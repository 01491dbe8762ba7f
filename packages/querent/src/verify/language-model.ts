/** Verifies a language model on its own: logits, hidden states and loss of a batch of prompts, and decoding. */
import type { Graph, LanguageModelPlugin, TensorData } from '@querent/core';
import { createGraph, crossEntropy, slice } from '@querent/graph';
import { causalMask, decoderOnlyHidden, encodePrompt, forget } from '@querent/llm-adapters';
import { decoderFamily, encoderDecoderFamily } from './families.ts';
import { check, input, reportOf } from './fixture.ts';
import type { Fixture } from './fixture.ts';
import { verifyGenerations } from './generations.ts';
import type { VerifyReport } from './report.ts';
import { entering, runOnce } from './run-graph.ts';
import { firstRow } from './rows.ts';

export async function verifyLanguageModel(fixture: Fixture, plugin: LanguageModelPlugin): Promise<VerifyReport> {
  if (plugin.architecture === 'decoder-only') await decoderOnly(fixture, plugin);
  else await encoderDecoder(fixture, plugin);
  const promptIds = input(fixture, 'input_ids');
  const skip = plugin.architecture === 'decoder-only' ? (promptIds.shape[1] ?? 0) : 1; // the prompt, or the start token
  await verifyGenerations(fixture, { plugin, config: fixture.config, prompt: { promptIds, promptMask: input(fixture, 'attention_mask') }, skip });
  return reportOf(fixture, `language model ${plugin.name}`);
}

async function decoderOnly(fixture: Fixture, plugin: LanguageModelPlugin): Promise<void> {
  const [ids, mask] = [input(fixture, 'input_ids'), input(fixture, 'attention_mask')];
  const counts = { counts: mask.data };
  const labels = fixture.inputs.get('labels');
  const fed = { input_ids: ids, attention_mask: mask, ...(labels === undefined ? {} : { labels }) };
  const graph = wholeSequence(fixture, plugin, { hasLabels: labels !== undefined, hasPositions: false });
  if (graph === undefined) return;
  const outputs = await runOnce(graph, fixture, fed);
  check(fixture, 'logits', outputs.get('logits'), counts);
  check(fixture, 'loss', outputs.get('loss'));

  const alone = firstRow(ids);
  const ones: TensorData = { dtype: 'int64', shape: alone.shape, data: new BigInt64Array(alone.data.length).fill(1n) };
  const withoutLabels = wholeSequence(fixture, plugin, { hasLabels: false, hasPositions: false });
  if (withoutLabels !== undefined) check(fixture, 'logits_row0_alone', (await runOnce(withoutLabels, fixture, { input_ids: alone, attention_mask: ones })).get('logits'));

  const positions = fixture.inputs.get('position_ids');
  const positioned = positions === undefined ? undefined : wholeSequence(fixture, plugin, { hasLabels: labels !== undefined, hasPositions: true });
  if (positions === undefined || positioned === undefined) return;
  for (const [name, actual] of await runOnce(positioned, fixture, { ...fed, position_ids: positions })) {
    const expected = fixture.expected.get(name.startsWith('hidden') ? name : `${name}_position_ids`);
    // What enters a projection comes flattened: the values are the same.
    const shaped = expected !== undefined && name.startsWith('hidden') && actual.data.length === expected.data.length ? { ...actual, shape: expected.shape } : actual;
    check(fixture, name.startsWith('hidden') ? name : `${name}_position_ids`, shaped, name === 'loss' ? {} : counts);
  }
}

/** Logits and loss of every position, with what enters each layer. Undefined for a family whose trunk is not known here. */
function wholeSequence(fixture: Fixture, plugin: LanguageModelPlugin, has: { readonly hasLabels: boolean; readonly hasPositions: boolean }): Graph | undefined {
  const { config } = fixture;
  const family = decoderFamily(plugin.name);
  if (family === undefined) return undefined;
  const g = createGraph(plugin.name);
  const shape = ['batch', 'tokens'];
  const embeddings = family.embed(g, g.input('input_ids', 'int64', shape), config);
  const mask = g.input('attention_mask', 'int64', shape);
  const hidden = has.hasPositions
    ? family.trunk(g, embeddings, { positions: g.input('position_ids', 'int64', shape), mask: causalMask(mask, family.window?.(config)), memory: forget }, config)
    : decoderOnlyHidden(family, g, { embeddings, mask }, forget, config);
  const logits = family.head(g, hidden, config);
  g.output('logits', logits);
  if (has.hasLabels) g.output('loss', crossEntropy(slice(logits, 1, 0, -1), slice(g.input('labels', 'int64', shape), 1, 1, Infinity)).loss);
  if (!has.hasPositions) return g.graph;
  const layers = family.layers(config);
  for (let i = 0; i < layers; i++) {
    const state = layerInputs(i, config?.['do_layer_norm_before'] === false).map((name) => entering(g.graph, name)).find((found) => found !== undefined);
    if (state !== undefined) g.output(`hidden_states_position_ids.${i}`, state);
  }
  g.output(`hidden_states_position_ids.${layers}`, hidden);
  return g.graph;
}

/** The norm that a layer begins with, or its first projection where there is none: what enters it is the hidden state before the layer. */
function layerInputs(layer: number, isPostNorm: boolean): readonly string[] {
  return [
    `model.layers.${layer}.input_layernorm.weight`,
    `model.decoder.layers.${layer}.${isPostNorm ? 'self_attn.q_proj' : 'self_attn_layer_norm'}.weight`,
  ];
}

async function encoderDecoder(fixture: Fixture, plugin: LanguageModelPlugin): Promise<void> {
  const { config } = fixture;
  const g = createGraph(plugin.name);
  const prompt = { promptIds: g.input('input_ids', 'int64', ['batch', 'prompt']), promptMask: g.input('attention_mask', 'int64', ['batch', 'prompt']) };
  const family = encoderDecoderFamily(plugin.name);
  if (family !== undefined) g.output('encoder_last_hidden_state', encodePrompt(family, g, prompt, config).states);
  const { loss, logits } = plugin.loss(g, { ...prompt, labels: g.input('labels', 'int64', ['batch', 'labels']) }, config);
  g.output('loss', loss);
  g.output('logits', logits);
  const labels = input(fixture, 'labels');
  const counted = { counts: Array.from(labels.data, Number).map((label) => (label === -100 ? 0 : 1)) };
  const mask = input(fixture, 'attention_mask');
  const outputs = await runOnce(g.graph, fixture, { input_ids: input(fixture, 'input_ids'), attention_mask: mask, labels });
  check(fixture, 'encoder_last_hidden_state', outputs.get('encoder_last_hidden_state'), { counts: mask.data });
  check(fixture, 'logits', outputs.get('logits'), counted);
  check(fixture, 'loss', outputs.get('loss'));
  const [leftIds, leftMask] = [fixture.inputs.get('input_ids_left'), fixture.inputs.get('attention_mask_left')];
  if (leftIds === undefined || leftMask === undefined) return;
  const left = await runOnce(g.graph, fixture, { input_ids: leftIds, attention_mask: leftMask, labels });
  check(fixture, 'logits_left', left.get('logits'), counted);
}
