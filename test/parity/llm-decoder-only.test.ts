/** Every decoder-only family against transformers: logits of left-padded prompts, positions counted from the mask. */
import { createOnnxEngine } from '@querent/engine-onnx';
import { createGraph } from '@querent/graph';
import type { DecoderOnlyFamily } from '@querent/llm-adapters';
import { decoderOnlyHidden, forget, gpt2Family, gptNeoxFamily, llamaFamily, mistralFamily, optFamily, qwen2Family } from '@querent/llm-adapters';
import { expect, it } from 'vitest';
import { expectClose, need, readFixture } from './llm-fixture.ts';

// Each family is given the config of a fixture of its own kind.
const families: Record<string, DecoderOnlyFamily<never>> = {
  'llm-gpt2': gpt2Family as DecoderOnlyFamily<never>,
  'llm-gptneox': gptNeoxFamily as DecoderOnlyFamily<never>,
  'llm-llama': llamaFamily as DecoderOnlyFamily<never>,
  'llm-mistral': mistralFamily as DecoderOnlyFamily<never>,
  'llm-opt': optFamily as DecoderOnlyFamily<never>,
  'llm-opt-350m-style': optFamily as DecoderOnlyFamily<never>,
  'llm-qwen2': qwen2Family as DecoderOnlyFamily<never>,
};

it.each(Object.keys(families))('%s has the logits of transformers', async (name) => {
  const family = families[name]!;
  const { config, inputs, expected, parameters } = await readFixture<never>(name);
  const g = createGraph(name);
  const mask = g.input('attention_mask', 'int64', ['batch', 'tokens']);
  const embeddings = family.embed(g, g.input('input_ids', 'int64', ['batch', 'tokens']), config);
  g.output('logits', family.head(g, decoderOnlyHidden(family, g, { embeddings, mask }, forget, config), config));
  expect([...g.graph.parameters.keys()].sort()).toEqual([...parameters.keys()].sort());
  await using engine = createOnnxEngine({ threads: 1 });
  const model = await engine.compile(g.graph, parameters);
  const attention_mask = need(inputs, 'attention_mask');
  const { logits } = await model.run({ input_ids: need(inputs, 'input_ids'), attention_mask });
  expectClose(logits, need(expected, 'logits_position_ids'), 2e-5, attention_mask);
});
