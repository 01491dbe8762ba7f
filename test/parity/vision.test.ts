/** The image encoders against HuggingFace transformers (`test/goldens/v1/vision-*`). */
import { clipImageEmbeds, clipVisionPlugin, dinov2Plugin, evaPlugin, siglipVisionPlugin, vitPlugin } from '@querent/encoders';
import type { EncoderPlugin, GraphScope, Scope, Tensor } from '@querent/core';
import { createGraph } from '@querent/graph';
import { describe, expect, it } from 'vitest';
import { expectClose, pick, readFixture, runOnce } from './fixture.ts';

interface Case {
  readonly folder: string;
  readonly plugin: EncoderPlugin;
  /** Where the tower stands in a checkpoint of its own. */
  readonly tower?: string;
  /** What `transformers` gives for a whole image, from the pooled vector. */
  readonly pooled?: (g: GraphScope, pooled: Tensor) => readonly [name: string, tensor: Tensor];
  /** Tensors that only its training reads. */
  readonly unread?: readonly string[];
  readonly hasLarger?: boolean;
}

const CASES: readonly Case[] = [
  { folder: 'vision-vit', plugin: vitPlugin },
  { folder: 'vision-eva', plugin: evaPlugin },
  { folder: 'vision-siglip', plugin: siglipVisionPlugin },
  { folder: 'vision-dinov2', plugin: dinov2Plugin, unread: ['embeddings.mask_token'] },
  { folder: 'vision-dinov2-swiglu', plugin: dinov2Plugin, unread: ['embeddings.mask_token'], hasLarger: false },
  { folder: 'vision-clip', plugin: clipVisionPlugin, tower: 'vision_model', pooled: (g, pooled) => ['image_embeds', clipImageEmbeds(g, pooled, 24)], hasLarger: false },
];

const scopeOf = (g: GraphScope, tower: string | undefined): Scope => (tower === undefined ? g : g.scope(tower));

describe.each(CASES)('$folder', ({ folder, plugin, tower, pooled: finish = (_g, pooled) => ['pooler_output', pooled], unread = [], hasLarger = true }) => {
  it('gives the last hidden state, the pooled vector and what leaves each block', async () => {
    const { config, weights, inputs, expected } = await readFixture(folder);
    const pixels = pick(inputs, 'pixel_values');
    const g = createGraph(folder);
    const input = g.input('pixel_values', 'float32', ['batch', ...pixels.shape.slice(1)]);
    const merged = { ...plugin.defaults, ...config };
    const { lastHiddenState, pooled, hiddenStates } = plugin.build(scopeOf(g, tower), input, merged, { pooled: true, hiddenStates: true });
    expect(lastHiddenState.shape).toEqual(['batch', plugin.patches(merged), plugin.width(merged)]);
    g.output('last_hidden_state', lastHiddenState);
    g.output(...finish(g, pooled!));
    hiddenStates!.forEach((state, i) => g.output(`hidden_states.${i}`, state));
    expect([...g.graph.parameters.keys(), ...unread].sort()).toEqual([...weights.keys()].sort());
    const outputs = await runOnce(g.graph, weights, { pixel_values: pixels });
    for (const [name, actual] of outputs) expectClose(actual, pick(expected, name));
  });

  it.runIf(hasLarger)('resizes its positions to an image of another size and shape', async () => {
    const { config, weights, inputs, expected } = await readFixture(folder);
    const pixels = pick(inputs, 'pixel_values_larger');
    const g = createGraph(folder);
    const input = g.input('pixel_values', 'float32', ['batch', ...pixels.shape.slice(1)]);
    g.output('last_hidden_state', plugin.build(scopeOf(g, tower), input, { ...plugin.defaults, ...config }).lastHiddenState);
    const outputs = await runOnce(g.graph, weights, { pixel_values: pixels });
    expectClose(pick(outputs, 'last_hidden_state'), pick(expected, 'last_hidden_state_larger'));
  });

  it('puts every parameter in a layer', async () => {
    const { config, weights } = await readFixture(folder);
    const merged = { ...plugin.defaults, ...config };
    const layers = [...weights.keys()].map((name) => plugin.layerOf(tower === undefined ? name : name.replace(`${tower}.`, ''), merged));
    expect(new Set(layers)).toEqual(new Set(Array.from({ length: plugin.layers(merged) }, (_, i) => i)));
  });
});
