/** NAME: how many of a reference's words a caption has, the best reference counting. `querent evaluate caption --metric NAME`. */
import { defineMetric } from '@querent/core';
import type { MetricPlugin } from '@querent/core';

const words = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

function share(caption: string, reference: string): number {
  const wanted = new Set(words(reference));
  const said = new Set(words(caption));
  return wanted.size === 0 ? 0 : [...wanted].filter((word) => said.has(word)).length / wanted.size;
}

const plugin: MetricPlugin = defineMetric({
  name: 'NAME',
  description: 'Share of a reference’s words that the caption has; the best reference counts.',
  evaluate(judged) {
    const each = Float64Array.from(judged, ({ prediction, reference }) => Math.max(0, ...reference.map((one) => share(prediction, one))));
    return { figures: { 'NAME': each.reduce((sum, one) => sum + one, 0) / each.length }, each: { 'NAME': each } };
  },
});
export default plugin;
