/** The image encoders against HuggingFace transformers (`test/goldens/v1/vision-*`). */
import { evaPlugin, vitPlugin } from '@querent/encoders';
import type { EncoderPlugin } from '@querent/core';
import { createGraph } from '@querent/graph';
import { describe, expect, it } from 'vitest';
import { expectClose, pick, readFixture, runOnce } from './fixture.ts';

const CASES: readonly (readonly [folder: string, plugin: EncoderPlugin])[] = [
  ['vision-vit', vitPlugin],
  ['vision-eva', evaPlugin],
];

describe.each(CASES)('%s', (folder, plugin) => {
  it('gives the last hidden state, the pooled vector and what leaves each block', async () => {
    const { config, weights, inputs, expected } = await readFixture(folder);
    const pixels = pick(inputs, 'pixel_values');
    const g = createGraph(folder);
    const input = g.input('pixel_values', 'float32', ['batch', ...pixels.shape.slice(1)]);
    const merged = { ...plugin.defaults, ...config };
    const { lastHiddenState, pooled, hiddenStates } = plugin.build(g, input, merged, { pooled: true, hiddenStates: true });
    expect(lastHiddenState.shape).toEqual(['batch', plugin.patches(merged), plugin.width(merged)]);
    g.output('last_hidden_state', lastHiddenState);
    g.output('pooler_output', pooled!);
    hiddenStates!.forEach((state, i) => g.output(`hidden_states.${i}`, state));
    expect([...g.graph.parameters.keys()].sort()).toEqual([...weights.keys()].sort());
    const outputs = await runOnce(g.graph, weights, { pixel_values: pixels });
    for (const [name, actual] of outputs) expectClose(actual, pick(expected, name));
  });

  it('resizes its positions to an image of another size and shape', async () => {
    const { config, weights, inputs, expected } = await readFixture(folder);
    const pixels = pick(inputs, 'pixel_values_larger');
    const g = createGraph(folder);
    const input = g.input('pixel_values', 'float32', ['batch', ...pixels.shape.slice(1)]);
    g.output('last_hidden_state', plugin.build(g, input, { ...plugin.defaults, ...config }).lastHiddenState);
    const outputs = await runOnce(g.graph, weights, { pixel_values: pixels });
    expectClose(pick(outputs, 'last_hidden_state'), pick(expected, 'last_hidden_state_larger'));
  });

  it('puts every parameter in a layer', async () => {
    const { config, weights } = await readFixture(folder);
    const merged = { ...plugin.defaults, ...config };
    const layers = [...weights.keys()].map((name) => plugin.layerOf(name, merged));
    expect(new Set(layers)).toEqual(new Set(Array.from({ length: plugin.layers(merged) }, (_, i) => i)));
  });
});
