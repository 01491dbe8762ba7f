/** Verifies a dual encoder whole (HF `CLIPModel`, `SiglipModel`): each tower, and the logits of all images with all texts. */
import type { DualEncoderFamily } from '@querent/core';
import { validate } from '@querent/core';
import { createGraph, transpose } from '@querent/graph';
import { check, input, reportOf } from './fixture.ts';
import type { Fixture } from './fixture.ts';
import type { VerifyReport } from './report.ts';
import { feedsOf, runOnce } from './run-graph.ts';

export async function verifyContrastive(fixture: Fixture, family: DualEncoderFamily): Promise<VerifyReport> {
  const config = family.complete(validate<Readonly<Record<string, unknown>>>(family.configSchema, fixture.config, { what: 'config.json' }));
  const g = createGraph(family.name);
  const model = family.build(g, config);
  const images = model.imageFeatures(g.input('pixel_values', 'float32', ['images', ...input(fixture, 'pixel_values').shape.slice(1)]));
  const inputIds = g.input('input_ids', 'int64', ['texts', 'tokens']);
  const mask = fixture.inputs.get('attention_mask');
  const { lastHiddenState, features } = model.text(mask === undefined ? { inputIds } : { inputIds, attentionMask: g.input('attention_mask', 'int64', ['texts', 'tokens']) });
  const logits = model.logits(images, features);
  g.output('image_embeds', images);
  g.output('text_embeds', features);
  g.output('text_last_hidden_state', lastHiddenState);
  g.output('logits_per_image', logits);
  g.output('logits_per_text', transpose(logits, [1, 0]));
  const outputs = await runOnce(g.graph, fixture, feedsOf(fixture, ['pixel_values', 'input_ids', ...(mask === undefined ? [] : ['attention_mask'])]));
  for (const [name, actual] of outputs) {
    check(fixture, name, actual, mask !== undefined && name === 'text_last_hidden_state' ? { counts: mask.data } : {});
  }
  return reportOf(fixture, `dual encoder ${family.name}`);
}
