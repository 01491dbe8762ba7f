/** Verifies image–text retrieval (HF `Blip2ForImageTextRetrieval`): ITC of all images with all texts, ITM of each pair. */
import type { TensorData } from '@querent/core';
import { QuerentError, int64 } from '@querent/core';
import { gather, softmax, transpose } from '@querent/graph';
import { buildBlip2, textInputs } from './blip2-parts.ts';
import { check, input, reportOf } from './fixture.ts';
import type { Fixture } from './fixture.ts';
import type { Plugins } from './plugins.ts';
import type { VerifyReport } from './report.ts';
import { feedsOf, runOnce } from './run-graph.ts';

export async function verifyRetrieval(fixture: Fixture, plugins: Plugins): Promise<VerifyReport> {
  const { g, features, bridge } = buildBlip2(fixture, plugins, 'retrieval');
  const { contrast, match } = bridge;
  if (contrast === undefined || match === undefined) throw new QuerentError('QRT_PLUGIN_INVALID', 'This bridge has no contrast and match.', { fix: 'Retrieval needs both.' });
  const text = textInputs(g, 'texts');
  const images = contrast.imageFeatures(bridge.encode(features).queries);
  const texts = contrast.textFeatures(text);
  const similarity = contrast.similarity(images, texts);
  const textRows = g.input('text_rows', 'int64', ['pairs']);
  const pairs = { inputIds: gather(text.inputIds, textRows), attentionMask: gather(text.attentionMask, textRows) };
  const logits = match.call(bridge, features, pairs, { images: g.input('image_rows', 'int64', ['pairs']) });
  g.output('image_embeds', images);
  g.output('text_embeds', texts);
  g.output('itc_logits_per_image', similarity);
  g.output('itc_logits_per_text', transpose(similarity, [1, 0]));
  g.output('itm_logits', logits);
  g.output('probability', softmax(logits));

  const imageCount = input(fixture, 'pixel_values').shape[0] ?? 0;
  const textCount = input(fixture, 'input_ids').shape[0] ?? 0;
  const grid = Array.from({ length: imageCount * textCount }, (_, i) => i);
  const outputs = await runOnce(g.graph, fixture, {
    ...feedsOf(fixture, ['pixel_values', 'input_ids', 'attention_mask']),
    image_rows: int64([grid.length], grid.map((i) => Math.floor(i / textCount))),
    text_rows: int64([grid.length], grid.map((i) => i % textCount)),
  });
  const shaped = (tensor: TensorData | undefined, ...shape: number[]): TensorData | undefined => (tensor === undefined ? undefined : { ...tensor, shape });
  for (const name of ['image_embeds', 'text_embeds', 'itc_logits_per_image', 'itc_logits_per_text']) check(fixture, name, outputs.get(name));
  check(fixture, 'itm_logits', shaped(outputs.get('itm_logits'), imageCount, textCount, 2));
  const probabilities = outputs.get('probability');
  if (probabilities !== undefined) {
    const ofMatch = Float32Array.from(grid, (i) => Number(probabilities.data[2 * i + 1]));
    check(fixture, 'itm_match_probability', { dtype: 'float32', shape: [imageCount, textCount], data: ofMatch });
  }
  return reportOf(fixture, 'image–text retrieval (blip-2)');
}
