/** Verifies a language model on its own: logits, hidden states and loss of a batch of prompts, and decoding. */
import type { Graph, LanguageModelPlugin, Tensor, TensorData } from '@querent/core';
import { languageConfig } from '@querent/core';
import { createGraph, crossEntropy, range, slice, unsqueeze } from '@querent/graph';
import type { JsonObject } from '@querent/hub';
import type { DecoderOnlyFamily } from '@querent/llm-adapters';
import { causalMask, decoderOnlyHidden, encodePrompt, forget } from '@querent/llm-adapters';
import { decoderFamily, encoderDecoderFamily, forwardPositions } from './families.ts';
import { check, input, reportOf } from './fixture.ts';
import type { Fixture } from './fixture.ts';
import { verifyGenerations } from './generations.ts';
import type { VerifyReport } from './report.ts';
import { runOnce } from './run-graph.ts';
import { firstRow } from './rows.ts';

export async function verifyLanguageModel(given: Fixture, plugin: LanguageModelPlugin): Promise<VerifyReport> {
  const config = languageConfig(plugin, given.config, (name) => given.weights.has(name), { what: 'config.json' });
  const fixture: Fixture = { ...given, config: config as JsonObject }; // its schema has accepted it
  if (plugin.architecture === 'decoder-only') await decoderOnly(fixture, plugin);
  else await encoderDecoder(fixture, plugin);
  const promptIds = input(fixture, 'input_ids');
  const skip = plugin.architecture === 'decoder-only' ? (promptIds.shape[1] ?? 0) : 1; // the prompt, or the start token
  await verifyGenerations(fixture, { plugin, config: fixture.config, prompt: { promptIds, promptMask: input(fixture, 'attention_mask') }, skip });
  return reportOf(fixture, `language model ${plugin.name}`);
}

type Positions = 'mask' | 'columns' | 'given';

async function decoderOnly(fixture: Fixture, plugin: LanguageModelPlugin): Promise<void> {
  const family = decoderFamily(plugin.name);
  if (family === undefined) return;
  const [ids, mask] = [input(fixture, 'input_ids'), input(fixture, 'attention_mask')];
  const counts = { counts: mask.data };
  const labels = fixture.inputs.get('labels');
  const hasLabels = labels !== undefined;
  const fed = { input_ids: ids, attention_mask: mask, ...(labels === undefined ? {} : { labels }) };
  const usual = forwardPositions(plugin.name);
  const outputs = await runOnce(wholeSequence(fixture, family, { hasLabels, positions: usual }), fixture, fed);
  check(fixture, 'logits', outputs.get('logits'), counts);
  check(fixture, 'loss', outputs.get('loss'));

  const alone = firstRow(ids);
  const ones: TensorData = { dtype: 'int64', shape: alone.shape, data: new BigInt64Array(alone.data.length).fill(1n) };
  const withoutLabels = wholeSequence(fixture, family, { hasLabels: false, positions: usual });
  check(fixture, 'logits_row0_alone', (await runOnce(withoutLabels, fixture, { input_ids: alone, attention_mask: ones })).get('logits'));

  const positions = fixture.inputs.get('position_ids');
  if (positions === undefined) return;
  const positioned = await runOnce(wholeSequence(fixture, family, { hasLabels, positions: 'given' }), fixture, { ...fed, position_ids: positions });
  for (const [name, actual] of positioned) check(fixture, name.startsWith('hidden') ? name : `${name}_position_ids`, actual, name === 'loss' ? {} : counts);
}

/** Logits and loss of every position; where positions are given, also what enters each layer. */
function wholeSequence(fixture: Fixture, family: DecoderOnlyFamily<unknown>, has: { readonly hasLabels: boolean; readonly positions: Positions }): Graph {
  const { config } = fixture;
  const g = createGraph(family.name);
  const shape = ['batch', 'tokens'];
  const embeddings = family.embed(g, g.input('input_ids', 'int64', shape), config);
  const mask = g.input('attention_mask', 'int64', shape);
  const states: Tensor[] = [];
  const hidden =
    has.positions === 'mask'
      ? decoderOnlyHidden(family, g, { embeddings, mask }, forget, config)
      : family.trunk(
          g,
          embeddings,
          {
            positions: has.positions === 'given' ? g.input('position_ids', 'int64', shape) : unsqueeze(range(mask, 'tokens'), [0]),
            mask: causalMask(mask, family.window?.(config)),
            memory: forget,
            trace: (state) => states.push(state),
          },
          config,
        );
  const logits = family.head(g, hidden, config);
  g.output('logits', logits);
  if (has.hasLabels) g.output('loss', crossEntropy(slice(logits, 1, 0, -1), slice(g.input('labels', 'int64', shape), 1, 1, Infinity)).loss);
  if (has.positions === 'given') [...states, hidden].forEach((state, i) => g.output(`hidden_states_position_ids.${i}`, state));
  return g.graph;
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
