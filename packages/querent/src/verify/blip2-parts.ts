/** Tower and bridge of a whole BLIP-2 config, put together as the loader does. */
import type { Bridge, BridgeConfig, BridgeText, EncoderConfig, GraphScope, Tensor } from '@querent/core';
import { createGraph } from '@querent/graph';
import type { Fixture } from './fixture.ts';
import { input, part } from './fixture.ts';
import type { Plugins } from './plugins.ts';

export interface Blip2Parts {
  readonly g: GraphScope;
  /** float32 [batch, patches, width] */
  readonly features: Tensor;
  /** The tower's pooled vector, when the fixture expects it. */
  readonly pooled: Tensor | undefined;
  readonly bridge: Bridge;
  readonly config: BridgeConfig;
  readonly queries: number;
}

export function buildBlip2(fixture: Fixture, plugins: Plugins, name: string): Blip2Parts {
  const [visionGiven, bridgeGiven] = [part(fixture.config, 'vision_config'), part(fixture.config, 'qformer_config')];
  const encoder = plugins.encoder(String(visionGiven['model_type']));
  const bridgePlugin = plugins.bridge(String(bridgeGiven['model_type']));
  const top = Object.fromEntries(bridgePlugin.topLevelKeys.flatMap((key) => ((fixture.config?.[key] ?? null) === null ? [] : [[key, fixture.config?.[key]]])));
  const config = { ...bridgePlugin.defaults, ...top, ...bridgeGiven } as BridgeConfig; // the plugin's schema has accepted it
  const visionConfig = { ...encoder.defaults, ...visionGiven } as EncoderConfig; // likewise
  const g = createGraph(name);
  const pixels = g.input('pixel_values', 'float32', ['batch', ...input(fixture, 'pixel_values').shape.slice(1)]);
  const { lastHiddenState, pooled } = encoder.build(g.scope('vision_model'), pixels, visionConfig, { pooled: fixture.expected.has('vision_pooler_output') });
  return { g, features: lastHiddenState, pooled, bridge: bridgePlugin.build(g, config), config, queries: bridgePlugin.queries(config) };
}

/** `input_ids` and `attention_mask` as graph inputs. */
export function textInputs(g: GraphScope, batch = 'batch'): BridgeText {
  return { inputIds: g.input('input_ids', 'int64', [batch, 'tokens']), attentionMask: g.input('attention_mask', 'int64', [batch, 'tokens']) };
}
