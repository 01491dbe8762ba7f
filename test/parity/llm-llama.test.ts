/** LLaMA against transformers: logits, loss, and what left padding does to neither. */
import { createOnnxEngine } from '@querent/engine-onnx';
import { createGraph, grad } from '@querent/graph';
import type { DecoderOnlyFamily, LlamaConfig } from '@querent/llm-adapters';
import { decoderOnlyHidden, forget, llama, llamaFamily } from '@querent/llm-adapters';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Fixture } from './llm-fixture.ts';
import { columns, expectClose, need, readFixture } from './llm-fixture.ts';

describe('LLaMA', () => {
  let fixture: Fixture<LlamaConfig>;
  beforeAll(async () => {
    fixture = await readFixture('llm-llama');
  });

  it('computes the logits of transformers for left-padded prompts', async () => {
    const { config, inputs } = fixture;
    const g = createGraph('llama');
    const mask = g.input('attention_mask', 'int64', ['batch', 'tokens']);
    const embeddings = llama.embed(g, g.input('input_ids', 'int64', ['batch', 'tokens']), config);
    const family: DecoderOnlyFamily<LlamaConfig> = llamaFamily;
    g.output('logits', family.head(g, decoderOnlyHidden(family, g, { embeddings, mask }, forget, config), config));
    await using engine = createOnnxEngine({ threads: 1 });
    const model = await engine.compile(g.graph, fixture.parameters);
    const attention_mask = need(inputs, 'attention_mask');
    const { logits } = await model.run({ input_ids: need(inputs, 'input_ids'), attention_mask });
    expectClose(logits, need(fixture.expected, 'logits_position_ids'), 2e-5, attention_mask);
  });

  it('computes the loss of transformers when the first token is the prompt', async () => {
    const { config, inputs } = fixture;
    const g = createGraph('llama-loss');
    const { loss, tokenLogProbs } = llama.loss(
      g,
      { promptIds: g.input('prompt', 'int64', ['batch', 1]), promptMask: g.input('mask', 'int64', ['batch', 1]), labels: g.input('labels', 'int64', ['batch', 'labels']) },
      config,
    );
    g.output('loss', loss);
    g.output('tokenLogProbs', tokenLogProbs);
    const trained = [...g.graph.parameters.values()].map((parameter) => parameter.tensor);
    grad(loss, trained).forEach((gradient, i) => g.output(`grad/${trained[i]!.name}`, gradient));
    await using engine = createOnnxEngine({ threads: 1 });
    const model = await engine.compile(g.graph, fixture.parameters);
    const ids = need(inputs, 'input_ids');
    const tokens = ids.shape[1]!;
    const feeds = { prompt: columns(ids, 0, 1), mask: columns(need(inputs, 'attention_mask'), 0, 1), labels: columns(need(inputs, 'labels'), 1, tokens) };
    const result = await model.run(feeds);
    expect(result['loss']?.data[0]).toBeCloseTo(Number(need(fixture.expected, 'loss').data[0]), 4);
    const logProbs = Array.from(result['tokenLogProbs']!.data, Number);
    const counted = Array.from(feeds.labels.data).filter((label) => label !== -100n).length;
    expect(-logProbs.reduce((a, b) => a + b) / counted).toBeCloseTo(Number(result['loss']!.data[0]), 4);
    for (const parameter of trained) {
      expect(result[`grad/${parameter.name}`]?.data.some((value) => Number(value) !== 0), parameter.name).toBe(true);
    }
  });
});
