/**
 * What InstructBLIP (HF `InstructBlipForConditionalGeneration`) has beside BLIP-2: its bridge reads an instruction, `qformer_input_ids`,
 * with a tokenizer of its own, and transformers' last hidden states hold the queries and the instruction.
 */
import type { Bridge, BridgeText, GraphScope, Tensor, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import type { InstructQFormer } from '@querent/qformer';
import { input } from './fixture.ts';
import type { Fixture } from './fixture.ts';
import type { CompareOptions } from './report.ts';
import { feedsOf } from './run-graph.ts';

const IDS = 'qformer_input_ids';
const MASK = 'qformer_attention_mask';

/** The instruction as graph inputs; undefined where the fixture has none. */
export function instructionInputs(fixture: Fixture, g: GraphScope): BridgeText | undefined {
  if (!fixture.inputs.has(IDS)) return undefined;
  return { inputIds: g.input(IDS, 'int64', ['batch', 'instruction']), attentionMask: g.input(MASK, 'int64', ['batch', 'instruction']) };
}

/** Pixels, and the instruction where there is one. */
export function imageFeeds(fixture: Fixture): Record<string, TensorData> {
  return feedsOf(fixture, ['pixel_values', ...(fixture.inputs.has(IDS) ? [IDS, MASK] : [])]);
}

/** Hidden states of queries and instruction [batch, queries + tokens, hidden]. */
export function jointStates(bridge: Bridge, features: Tensor, text: BridgeText): Tensor {
  if (!isInstructed(bridge)) {
    throw new QuerentError('QRT_MODEL_UNSUPPORTED', `The fixture has ${IDS}; this bridge gives no hidden states of a text.`, { fix: 'Its qformer_config needs the model_type instructblip_qformer.' });
  }
  return bridge.readJointly(features, text);
}

/** Which rows of the Q-Former's hidden states count: the queries, and the instruction without its padding. */
export function bridgeCounts(fixture: Fixture, name: string, queries: number): CompareOptions {
  if (name !== 'qformer_last_hidden_state' || !fixture.inputs.has(IDS)) return {};
  const { data, shape } = input(fixture, MASK);
  const tokens = shape[1] ?? 0;
  const rows = Array.from({ length: shape[0] ?? 0 }, (_, row) => [...new Array<number>(queries).fill(1), ...Array.from(data.slice(row * tokens, (row + 1) * tokens), Number)]);
  return { counts: rows.flat() };
}

function isInstructed(bridge: Bridge): bridge is InstructQFormer {
  return 'readJointly' in bridge;
}
