/** What stage 1 asks of a bridge. Its losses and gradients against BLIP-2's: test/parity. */
import type { Bridge } from '@querent/core';
import { createGraph } from '@querent/graph';
import { qformerPlugins } from '@querent/qformer';
import { expect, it } from 'vitest';
import { STAGE1_RECIPE } from '../tiny-world.test-helper.ts';
import type { Stage1Inputs, Stage1Losses, Stage1Weights } from './stage1.ts';
import { stage1 } from './stage1.ts';

function losses(weights: Stage1Weights, change: (bridge: Bridge, inputs: Stage1Inputs) => { bridge: Bridge; inputs: Stage1Inputs } = (bridge, inputs) => ({ bridge, inputs })): Stage1Losses {
  const g = createGraph('stage1');
  const plugin = qformerPlugins[0]!;
  const bridge = plugin.build(g, { ...plugin.defaults, ...STAGE1_RECIPE.qformer_config, num_query_tokens: 3, image_text_hidden_size: 8 } as typeof plugin.defaults);
  const noise = (name: string): Stage1Inputs['features'] => g.input(name, 'float32', ['batch', 'batch']);
  const given = change(bridge, {
    features: g.input('features', 'float32', ['batch', 5, 16]),
    inputIds: g.input('input_ids', 'int64', ['batch', 'tokens']),
    attentionMask: g.input('attention_mask', 'int64', ['batch', 'tokens']),
    imageIds: g.input('image_ids', 'int64', ['batch']),
    negatives: { images: noise('image_noise'), texts: noise('text_noise') },
  });
  return stage1(given.bridge, given.inputs, { weights, decoderToken: 5 });
}

it('has a loss for each objective with a weight, and their sum', () => {
  expect(Object.keys(losses({ itc: 1, itm: 1, itg: 1 }))).toEqual(['loss', 'loss_itc', 'loss_itm', 'loss_itg']);
  expect(Object.keys(losses({ itc: 0, itm: 1, itg: 0 }))).toEqual(['loss', 'loss_itm']);
  expect(losses({ itc: 1, itm: 1, itg: 0.5 })['loss']!.shape).toEqual([]);
});

it('says which objective a bridge lacks', () => {
  const without = (part: 'contrast' | 'match' | 'generateText') => (bridge: Bridge, inputs: Stage1Inputs) => ({ bridge: { ...bridge, [part]: undefined } as Bridge, inputs });
  expect(() => losses({ itc: 1, itm: 0, itg: 0 }, without('contrast'))).toThrow(/ITC/);
  expect(() => losses({ itc: 1, itm: 1, itg: 0 }, without('match'))).toThrow(/ITM/);
  expect(() => losses({ itc: 1, itm: 1, itg: 1 }, without('generateText'))).toThrow(expect.objectContaining({ code: 'QRT_PLUGIN_INVALID' }));
  expect(Object.keys(losses({ itc: 1, itm: 1, itg: 0 }, without('generateText')))).toEqual(['loss', 'loss_itc', 'loss_itm']);
});

it('refuses no objective, and ITM without anything to draw negatives from', () => {
  expect(() => losses({ itc: 0, itm: 0, itg: 0 })).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
  const bare = (bridge: Bridge, { features, inputIds, attentionMask, imageIds }: Stage1Inputs) => ({ bridge, inputs: { features, inputIds, attentionMask, imageIds } });
  expect(() => losses({ itc: 1, itm: 1, itg: 0 }, bare)).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
});
