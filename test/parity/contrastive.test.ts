/** CLIP and SigLIP whole against HuggingFace transformers (`test/goldens/v1/clip-full`, `siglip-full`). */
import { clipFamily, siglipFamily } from '@querent/encoders';
import type { DualEncoderFamily, TensorData } from '@querent/core';
import { validate } from '@querent/core';
import { createGraph } from '@querent/graph';
import { describe, expect, it } from 'vitest';
import type { Fixture } from './fixture.ts';
import { expectClose, pick, readFixture, runOnce } from './fixture.ts';

const CASES: readonly (readonly [folder: string, family: DualEncoderFamily])[] = [
  ['clip-full', clipFamily],
  ['siglip-full', siglipFamily],
];

interface Changes {
  readonly text_config?: Readonly<Record<string, unknown>>;
  readonly withoutMask?: boolean;
}

async function run(fixture: Fixture, family: DualEncoderFamily, { text_config: changed = {}, withoutMask = false }: Changes = {}): Promise<ReadonlyMap<string, TensorData>> {
  const { config, inputs, weights } = fixture;
  const given = validate<Readonly<Record<string, unknown>>>(family.configSchema, { ...config, text_config: { ...Object(config['text_config']), ...changed } });
  const merged = family.complete(given);
  const g = createGraph(family.name);
  const model = family.build(g, merged);
  const pixels = pick(inputs, 'pixel_values');
  const images = model.imageFeatures(g.input('pixel_values', 'float32', ['images', ...pixels.shape.slice(1)]));
  const inputIds = g.input('input_ids', 'int64', ['texts', 'tokens']);
  const { features, lastHiddenState } = model.text(withoutMask ? { inputIds } : { inputIds, attentionMask: g.input('attention_mask', 'int64', ['texts', 'tokens']) });
  expect(images.shape).toEqual(['images', family.width(merged)]);
  expect(features.shape).toEqual(['texts', family.width(merged)]);
  g.output('image_embeds', images);
  g.output('text_embeds', features);
  g.output('text_last_hidden_state', lastHiddenState);
  g.output('logits_per_image', model.logits(images, features));
  expect([...g.graph.parameters.keys()].sort()).toEqual([...weights.keys()].sort());
  const feeds = { pixel_values: pixels, input_ids: pick(inputs, 'input_ids'), ...(withoutMask ? {} : { attention_mask: pick(inputs, 'attention_mask') }) };
  return runOnce(g.graph, weights, feeds);
}

describe.each(CASES)('%s', (folder, family) => {
  it('gives both towers\' vectors and the logits of all images with all texts', async () => {
    const fixture = await readFixture(folder);
    for (const [name, actual] of await run(fixture, family)) {
      expectClose(actual, pick(fixture.expected, name), 2e-5, name === 'text_last_hidden_state' ? pick(fixture.inputs, 'attention_mask') : undefined);
    }
  });

  it('needs no mask for texts that end before their padding, or are never looked away from', async () => {
    const fixture = await readFixture(folder);
    const outputs = await run(fixture, family, { withoutMask: true });
    expectClose(pick(outputs, 'logits_per_image'), pick(fixture.expected, 'logits_per_image'));
  });
});

it('finds the end token as the largest id where the config has the wrong one that OpenAI published', async () => {
  const fixture = await readFixture('clip-full');
  const outputs = await run(fixture, clipFamily, { text_config: { eos_token_id: 2 } });
  expectClose(pick(outputs, 'text_embeds'), pick(fixture.expected, 'text_embeds'));
});
