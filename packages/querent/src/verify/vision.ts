/**
 * Verifies an image encoder: last hidden state, pooled vector (CLIP's projected, where it has the projection), what leaves each
 * block, and positions at another image size.
 */
import type { EncoderConfig, EncoderPlugin, Graph, TensorData } from '@querent/core';
import { validate } from '@querent/core';
import type { ClipVisionConfig } from '@querent/encoders';
import { clipImageEmbeds } from '@querent/encoders';
import { createGraph } from '@querent/graph';
import { check, checkAll, input, reportOf } from './fixture.ts';
import type { Fixture } from './fixture.ts';
import type { VerifyReport } from './report.ts';
import { runOnce } from './run-graph.ts';

/** transformers writes some towers under this name even when they are alone. */
const TOWER = 'vision_model';

export async function verifyEncoder(fixture: Fixture, plugin: EncoderPlugin): Promise<VerifyReport> {
  const given = validate<object>(plugin.configSchema, fixture.config, { what: 'config.json' });
  const config = { ...plugin.defaults, ...given } as EncoderConfig; // the plugin's schema has accepted it
  const pixels = input(fixture, 'pixel_values');
  checkAll(fixture, await runOnce(encoderGraph(fixture, plugin, config, pixels), fixture, { pixel_values: pixels }));
  const larger = fixture.inputs.get('pixel_values_larger');
  if (larger !== undefined) {
    const outputs = await runOnce(encoderGraph(fixture, plugin, config, larger), fixture, { pixel_values: larger });
    for (const [name, actual] of outputs) check(fixture, `${name}_larger`, actual);
  }
  return reportOf(fixture, `encoder ${plugin.name}`);
}

/** Everything that a fixture may expect of an encoder, for pixels of this size. */
function encoderGraph(fixture: Fixture, plugin: EncoderPlugin, config: EncoderConfig, pixels: TensorData): Graph {
  const g = createGraph(plugin.name);
  const isTower = [...fixture.weights.keys()].some((name) => name.startsWith(`${TOWER}.`));
  const projects = plugin.name === 'clip_vision_model' && fixture.expected.has('image_embeds');
  const expects = (start: string): boolean => [...fixture.expected.keys()].some((name) => name.startsWith(start));
  const built = plugin.build(isTower ? g.scope(TOWER) : g, g.input('pixel_values', 'float32', ['batch', ...pixels.shape.slice(1)]), config, {
    pooled: projects || expects('pooler_output'),
    hiddenStates: expects('hidden_states.'),
  });
  g.output('last_hidden_state', built.lastHiddenState);
  built.hiddenStates?.forEach((state, i) => g.output(`hidden_states.${i}`, state));
  if (built.pooled === undefined) return g.graph;
  if (expects('pooler_output')) g.output('pooler_output', built.pooled);
  // This plugin's schema and defaults are those of CLIP.
  if (projects) g.output('image_embeds', clipImageEmbeds(g, built.pooled, (config as ClipVisionConfig).projection_dim));
  return g.graph;
}
