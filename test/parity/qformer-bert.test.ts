/** A Q-Former that begins as BERT computes what BERT computes (HF `BertForMaskedLM`), from its text stream alone. */
import type { TensorData } from '@querent/core';
import { float32, int64 } from '@querent/core';
import { createGraph } from '@querent/graph';
import { instructQformerPlugin, qformerPlugin } from '@querent/qformer';
import type { QFormerConfig } from '@querent/qformer';
import { expect, it } from 'vitest';
import { expectClose, pick, readFixture, runOnce } from './fixture.ts';

const row = (tensor: TensorData, i: number): number[] => {
  const width = tensor.shape[1]!;
  return Array.from(tensor.data.slice(i * width, (i + 1) * width), Number);
};

it("the text stream's hidden states are BERT's", async () => {
  const { config: bertConfig, weights, inputs, expected } = await readFixture('llm-bert');
  const start = qformerPlugin.start!;
  const config: QFormerConfig = { ...qformerPlugin.defaults, ...start.config(bertConfig), encoder_hidden_size: 8 };
  const g = createGraph('bert');
  const text = { inputIds: g.input('input_ids', 'int64', ['batch', 'tokens']), attentionMask: g.input('attention_mask', 'int64', ['batch', 'tokens']) };
  g.output('hidden', qformerPlugin.build(g, config).encodeText(text));

  const [ids, mask, types] = [pick(inputs, 'input_ids'), pick(inputs, 'attention_mask'), pick(inputs, 'token_type_ids')];
  const hidden = pick(expected, 'last_hidden_state');
  const [batch, tokens, width] = hidden.shape as [number, number, number];
  const table = pick(weights, 'bert.embeddings.token_type_embeddings.weight').data;
  for (let i = 0; i < batch; i++) {
    // A Q-Former has no token types: put where BERT adds them, into the positions of this row.
    const positions = pick(weights, 'bert.embeddings.position_embeddings.weight');
    const moved = Float32Array.from(positions.data, Number);
    row(types, i).forEach((type, position) => {
      for (let j = 0; j < width; j++) moved[position * width + j] = moved[position * width + j]! + Number(table[type * width + j]);
    });
    const bert = new Map(weights).set('bert.embeddings.position_embeddings.weight', float32(positions.shape, moved));
    const begun = start.weights(bert, bertConfig, config, () => 0);
    const outputs = await runOnce(g.graph, begun, { input_ids: int64([1, tokens], row(ids, i)), attention_mask: int64([1, tokens], row(mask, i)) });
    const wanted = float32([1, tokens, width], Array.from(hidden.data.slice(i * tokens * width, (i + 1) * tokens * width), Number));
    expectClose(pick(outputs, 'hidden'), wanted, 2e-5, int64([1, tokens], row(mask, i)));
  }
});

it("InstructBLIP's begins so too, under its own names", async () => {
  const { config: bertConfig, weights } = await readFixture('llm-bert');
  const { start, defaults } = instructQformerPlugin;
  const config = { ...defaults, ...start!.config(bertConfig), encoder_hidden_size: 8 };
  const g = createGraph('instructed');
  const text = { inputIds: g.input('input_ids', 'int64', ['batch', 'tokens']), attentionMask: g.input('attention_mask', 'int64', ['batch', 'tokens']) };
  instructQformerPlugin.build(g, config).encode(g.input('features', 'float32', ['batch', 4, 8]), text);
  const drawn = [...g.graph.parameters.keys()].filter((name) => !start!.weights(weights, bertConfig, config, () => 0).has(name));
  expect(drawn.filter((name) => !name.includes('.crossattention.'))).toEqual(['query_tokens']);
});
