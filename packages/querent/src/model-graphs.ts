/**
 * A model's graphs by name, and where each name's parameters stand in the checkpoint. Built when asked for, once. Inputs and
 * outputs have HuggingFace's names.
 *
 *     encoder   pixel_values → features              bridge     features → soft_prompt (queries, where there is no LM)
 *     prefill, decode, score: the language model     extend: prefill and decode in one, where the model can
 *     image_features, text_features, match, rerank, attend: the bridge
 */
import type { Bridge, BridgeEncoding, BridgeText, Graph, GraphScope, Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import { add, createGraph, div, linear, reduceMean, slice, softmax, squeeze, sub } from '@querent/graph';
import { decodeGraph, extendGraph, prefillGraph } from '@querent/llm-adapters';
import type { ModelParts } from './model-parts.ts';

export type GraphName =
  | 'encoder'
  | 'bridge'
  | 'bridge_with_text'
  | 'image_features'
  | 'text_features'
  | 'match'
  | 'rerank'
  | 'attend'
  | 'attend_with_text'
  | 'prefill'
  | 'prefill_without_text'
  | 'decode'
  | 'extend'
  | 'score';

/** Where the parts' parameters begin in a whole model's checkpoint (HF `Blip2Model`). */
export const VISION_SCOPE = 'vision_model';
export const LANGUAGE_SCOPE = 'language_model';

export type ModelGraphs = Readonly<Record<GraphName, () => Graph>>;

/**
 * @param isStored does the checkpoint hold this parameter? Asked where a graph can do without it
 * @throws QuerentError QRT_MODEL_UNSUPPORTED from a graph that the model has no part for.
 */
export function modelGraphs(parts: ModelParts, isStored: (name: string) => boolean = () => true): ModelGraphs {
  const { encoder, processor } = parts;
  const graphs: ModelGraphs = {
    encoder: () => {
      const g = createGraph('encoder');
      const pixels = g.input('pixel_values', 'float32', ['batch', 3, processor.height, processor.width]);
      g.output('features', encoder.plugin.build(g.scope(VISION_SCOPE), pixels, encoder.config).lastHiddenState);
      return g.graph;
    },
    bridge: () => overBridge(parts, 'bridge', (g, bridge) => g.output('soft_prompt', projected(parts, g, bridge.encode(featuresInput(parts, g)).queries))),
    bridge_with_text: () =>
      overBridge(parts, 'bridge_with_text', (g, bridge) =>
        g.output('soft_prompt', projected(parts, g, bridge.encode(featuresInput(parts, g), textInput(g, 'batch')).queries)),
      ),
    image_features: () =>
      overBridge(parts, 'image_features', (g, bridge) => {
        const { queries } = bridge.encode(featuresInput(parts, g));
        g.output('image_features', needed(bridge.contrast, parts, 'contrast').imageFeatures(queries));
      }),
    text_features: () =>
      overBridge(parts, 'text_features', (g, bridge) => g.output('text_features', needed(bridge.contrast, parts, 'contrast').textFeatures(textInput(g, 'batch')))),
    match: () =>
      overBridge(parts, 'match', (g, bridge) => {
        g.output('probability', squeeze(slice(softmax(matchLogits(parts, g, bridge), 1), 1, 1, 2), [1])); // [rows]
      }),
    rerank: () =>
      overBridge(parts, 'rerank', (g, bridge) => {
        const logits = matchLogits(parts, g, bridge);
        const logOdds = squeeze(sub(slice(logits, 1, 1, 2), slice(logits, 1, 0, 1)), [1]); // [rows]
        const similarity = g.input('similarity', 'float32', ['rows']);
        const contrast = needed(bridge.contrast, parts, 'rerank');
        g.output('logits', logOdds); // [rows]
        g.output('scores', add(logOdds, holdsTemperature(parts, isStored) ? div(similarity, contrast.temperature()) : similarity)); // [rows]
      }),
    attend: () => overBridge(parts, 'attend', (g, bridge) => outputAttention(parts, g, bridge.encode(featuresInput(parts, g)))),
    attend_with_text: () =>
      overBridge(parts, 'attend_with_text', (g, bridge) => outputAttention(parts, g, bridge.encode(featuresInput(parts, g), textInput(g, 'batch')))),
    prefill: () => {
      const { plugin, config } = needed(parts.languageModel, parts, 'generate');
      return prefillGraph(plugin, config, { prefix: LANGUAGE_SCOPE });
    },
    prefill_without_text: () => {
      const { plugin, config } = needed(parts.languageModel, parts, 'generate');
      return prefillGraph(plugin, config, { prefix: LANGUAGE_SCOPE, prompt: false });
    },
    decode: () => {
      const { plugin, config } = needed(parts.languageModel, parts, 'generate');
      return decodeGraph(plugin, config, { prefix: LANGUAGE_SCOPE });
    },
    extend: () => {
      const { plugin, config } = needed(parts.languageModel, parts, 'generate');
      return extendGraph(plugin, config, { prefix: LANGUAGE_SCOPE });
    },
    score: () => {
      const { plugin, config } = needed(parts.languageModel, parts, 'score');
      const g = createGraph('score');
      const inputs = {
        softPrompt: g.input('soft_prompt', 'float32', ['batch', 'queries', plugin.width(config)]),
        promptIds: g.input('input_ids', 'int64', ['batch', 'prompt']),
        promptMask: g.input('attention_mask', 'int64', ['batch', 'prompt']),
        labels: g.input('labels', 'int64', ['batch', 'labels']),
      };
      g.output('token_log_probs', plugin.loss(g.scope(LANGUAGE_SCOPE), inputs, config).tokenLogProbs);
      return g.graph;
    },
  };
  const built = new Map<GraphName, Graph>();
  const once = (name: GraphName): (() => Graph) => () => {
    const graph = built.get(name) ?? graphs[name]();
    built.set(name, graph);
    return graph;
  };
  return Object.fromEntries(Object.keys(graphs).map((name) => [name, once(name as GraphName)])) as Record<GraphName, () => Graph>; // the keys of graphs
}

/** Everything that the bridge can declare: what a checkpoint may hold without being asked. */
export function everyBridgeParameter(parts: ModelParts): ReadonlySet<string> {
  return new Set(everyBridgeGraph(parts).parameters.keys());
}

/** A graph that declares them all, with their shapes. */
export function everyBridgeGraph(parts: ModelParts): Graph {
  return overBridge(parts, 'everything', (g, bridge) => {
    const features = featuresInput(parts, g);
    const text = textInput(g, 'batch');
    const image = bridge.encode(features);
    bridge.contrast?.imageFeatures(image.queries);
    bridge.contrast?.textFeatures(text);
    bridge.contrast?.temperature();
    bridge.match?.(features, text);
    bridge.generateText?.(image, text);
  });
}

function overBridge({ bridge }: ModelParts, name: string, build: (g: GraphScope, bridge: Bridge) => void): Graph {
  const g = createGraph(name);
  build(g, bridge.plugin.build(g, bridge.config));
  return g.graph;
}

/** float32 [rows, 2] */
function matchLogits(parts: ModelParts, g: GraphScope, bridge: Bridge): Tensor {
  const match = needed(bridge.match, parts, 'match');
  const images = g.input('images', 'int64', ['rows']);
  return match(featuresInput(parts, g), textInput(g, 'rows'), { images });
}

/** HuggingFace's checkpoints for retrieval come without it. */
function holdsTemperature(parts: ModelParts, isStored: (name: string) => boolean): boolean {
  const { parameters } = overBridge(parts, 'temperature', (_, bridge) => void bridge.contrast?.temperature());
  return [...parameters.keys()].every(isStored);
}

function featuresInput({ encoder }: ModelParts, g: GraphScope): Tensor {
  return g.input('features', 'float32', ['batch', 'patches', encoder.plugin.width(encoder.config)]);
}

function textInput(g: GraphScope, rows: string): BridgeText {
  return { inputIds: g.input('input_ids', 'int64', [rows, 'tokens']), attentionMask: g.input('attention_mask', 'int64', [rows, 'tokens']) };
}

/** Queries → what the language model reads: one linear layer (HF `language_projection`); as they are where there is none, or where the bridge wants none. */
function projected({ bridge, languageModel }: ModelParts, g: GraphScope, queries: Tensor): Tensor {
  if (languageModel === undefined || bridge.plugin.isProjected === false) return queries;
  return linear(g.scope('language_projection'), queries, languageModel.plugin.width(languageModel.config));
}

/** Where each query looked in the last layer that looks, which has read the text most: mean over heads, float32 [batch, queries, patches]. */
function outputAttention(parts: ModelParts, g: GraphScope, encoding: BridgeEncoding): void {
  const last = needed(encoding.crossAttentions.filter((map) => map !== null).at(-1), parts, 'attend'); // [batch, heads, queries, patches]
  g.output('attention', reduceMean(last, [1], false));
}

function needed<T>(part: T | undefined, parts: ModelParts, capability: string): T {
  if (part !== undefined) return part;
  throw new QuerentError('QRT_MODEL_UNSUPPORTED', `This model cannot ${capability}: its ${capability === 'generate' || capability === 'score' ? 'config names no language model' : `bridge ${parts.bridge.plugin.name} has no such function`}.`, {
    fix: 'Load a model that can, for instance models/querent-mini to caption and models/querent-mini-retrieval to match.',
    details: { capability },
  });
}
