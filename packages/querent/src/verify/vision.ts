/** Verifies an image encoder: last hidden state, pooled vector, what leaves each block, and positions at another image size. */
import type { EncoderConfig, EncoderPlugin } from '@querent/core';
import { createGraph } from '@querent/graph';
import { check, checkAll, input, reportOf } from './fixture.ts';
import type { Fixture } from './fixture.ts';
import type { VerifyReport } from './report.ts';
import { runOnce } from './run-graph.ts';

const POOLED = ['pooler_output', 'image_embeds'];

export async function verifyEncoder(fixture: Fixture, plugin: EncoderPlugin): Promise<VerifyReport> {
  const config = { ...plugin.defaults, ...fixture.config } as EncoderConfig; // the plugin's schema has accepted it
  const pixels = input(fixture, 'pixel_values');
  const pooledName = POOLED.find((name) => fixture.expected.has(name));
  const wantsStates = [...fixture.expected.keys()].some((name) => name.startsWith('hidden_states.'));
  const g = createGraph(plugin.name);
  const built = plugin.build(g, g.input('pixel_values', 'float32', ['batch', ...pixels.shape.slice(1)]), config, { pooled: pooledName !== undefined, hiddenStates: wantsStates });
  g.output('last_hidden_state', built.lastHiddenState);
  if (pooledName !== undefined && built.pooled !== undefined) g.output(pooledName, built.pooled);
  built.hiddenStates?.forEach((state, i) => g.output(`hidden_states.${i}`, state));
  checkAll(fixture, await runOnce(g.graph, fixture, { pixel_values: pixels }));

  const larger = fixture.inputs.get('pixel_values_larger');
  if (larger !== undefined) {
    const other = createGraph(`${plugin.name}-larger`);
    other.output('last_hidden_state', plugin.build(other, other.input('pixel_values', 'float32', ['batch', ...larger.shape.slice(1)]), config).lastHiddenState);
    const outputs = await runOnce(other.graph, fixture, { pixel_values: larger });
    check(fixture, 'last_hidden_state_larger', outputs.get('last_hidden_state'));
  }
  return reportOf(fixture, `encoder ${plugin.name}`);
}
