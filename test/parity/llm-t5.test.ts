/** T5 v1.0 (relu, tied head) and v1.1 (gated, own head) against transformers. */
import { createOnnxEngine } from '@querent/engine-onnx';
import { createGraph, grad } from '@querent/graph';
import type { T5Config } from '@querent/llm-adapters';
import { encodePrompt, t5, t5Family } from '@querent/llm-adapters';
import { describe, expect, it } from 'vitest';
import { expectClose, need, readFixture } from './llm-fixture.ts';

describe.each(['llm-t5-gated', 'llm-t5-relu-tied'])('T5 (%s)', (name) => {
  it('computes encoder states, logits and loss of transformers, padded on either side', async () => {
    const { config, inputs, expected, parameters } = await readFixture<T5Config>(name);
    const g = createGraph('t5');
    const prompt = { promptIds: g.input('input_ids', 'int64', ['batch', 'prompt']), promptMask: g.input('attention_mask', 'int64', ['batch', 'prompt']) };
    g.output('encoder', encodePrompt(t5Family, g, prompt, config).states);
    const { loss, logits, tokenLogProbs } = t5.loss(g, { ...prompt, labels: g.input('labels', 'int64', ['batch', 'labels']) }, config);
    g.output('loss', loss);
    g.output('logits', logits);
    g.output('tokenLogProbs', tokenLogProbs);
    const trained = [...g.graph.parameters.values()].map((parameter) => parameter.tensor);
    grad(loss, trained).forEach((gradient, i) => g.output(`grad/${trained[i]!.name}`, gradient));
    await using engine = createOnnxEngine({ threads: 1 });
    const model = await engine.compile(g.graph, parameters);

    const labels = need(inputs, 'labels');
    const mask = need(inputs, 'attention_mask');
    const right = await model.run({ input_ids: need(inputs, 'input_ids'), attention_mask: mask, labels });
    expectClose(right['encoder'], need(expected, 'encoder_last_hidden_state'), 2e-5, mask);
    const real = { ...labels, data: labels.data.map((label: bigint | number) => (Number(label) === -100 ? 0n : 1n)) as BigInt64Array };
    expectClose(right['logits'], need(expected, 'logits'), 2e-5, real);
    expect(right['loss']?.data[0]).toBeCloseTo(Number(need(expected, 'loss').data[0]), 4);
    const sum = Array.from(right['tokenLogProbs']!.data, Number).reduce((a, b) => a + b);
    expect(-sum / Array.from(real.data).filter((x) => x === 1n).length).toBeCloseTo(Number(right['loss']!.data[0]), 4);

    const left = await model.run({ input_ids: need(inputs, 'input_ids_left'), attention_mask: need(inputs, 'attention_mask_left'), labels });
    expectClose(left['logits'], need(expected, 'logits_left'), 2e-5, real);
    for (const parameter of trained) {
      expect(right[`grad/${parameter.name}`]?.data.some((value) => Number(value) !== 0), parameter.name).toBe(true);
    }
  });
});
