/** Conformance of the three parts of a model: encoder, bridge, language model. Weights are drawn, graphs run on a real engine. */
import type { BridgeConfig, BridgePlugin } from '../contracts/bridge.ts';
import type { EncoderConfig, EncoderPlugin } from '../contracts/encoder.ts';
import type { Graph, GraphScope, Tensor } from '../contracts/graph.ts';
import type { LanguageModelPlugin } from '../contracts/language-model.ts';
import { findMistakes } from '../config.ts';
import type { TensorData } from '../tensor.ts';
import type { ConformanceCheck, GraphTools } from './checks.ts';
import { assert, assertClose, assertFinite, check, idsOf, keepsContract, tensorOf, weightsOf } from './checks.ts';

/** The sizes that a part is tried with: small ones. */
export interface PartTools<Config> extends GraphTools {
  readonly config: Config;
}

function fitsSchema(schema: Readonly<Record<string, unknown>>, config: unknown): void {
  const mistakes = findMistakes(schema, config);
  assert(mistakes.length === 0, `The config does not fit configSchema: ${mistakes.map(({ pointer, message }) => `${pointer} ${message}`).join('; ')}.`);
}

/** One image alone, and beside another one. */
export function encoderConformance<Config extends EncoderConfig>(plugin: EncoderPlugin<Config>, { engine, createGraph, config }: PartTools<Config>): ConformanceCheck[] {
  const { size, crop_size: crop } = plugin.preprocess(config);
  const [height, width] = crop !== undefined ? [crop.height, crop.width] : 'height' in size ? [size.height, size.width] : [size.shortest_edge, size.shortest_edge];
  const built = (): GraphScope => {
    const g = createGraph(plugin.name);
    g.output('features', plugin.build(g, g.input('pixel_values', 'float32', ['batch', 3, height, width]), config).lastHiddenState);
    return g;
  };
  return [
    keepsContract(plugin),
    check('its config fits its schema', () => fitsSchema(plugin.configSchema, config)),
    check('every parameter has a layer', () => {
      const layers = plugin.layers(config);
      for (const name of built().graph.parameters.keys()) {
        const layer = plugin.layerOf(name, config);
        assert(Number.isInteger(layer) && layer >= 0 && layer < layers, `layerOf(${name}) is ${layer}; there are layers 0 to ${layers - 1}.`);
      }
    }),
    check('an image gives [patches, width] features, the same alone and in a batch', async () => {
      const { graph } = built();
      await using executable = await engine.compile(graph, weightsOf(graph));
      const [patches, features] = [plugin.patches(config), plugin.width(config)];
      const two = tensorOf([2, 3, height, width], 7);
      const { features: both } = await executable.run({ pixel_values: two });
      assert(both !== undefined && both.shape.join() === `2,${patches},${features}`, `lastHiddenState is [${both?.shape.join(', ')}]; patches and width say [2, ${patches}, ${features}].`);
      assertFinite('lastHiddenState', both);
      const one = { dtype: 'float32', shape: [1, 3, height, width], data: two.data.slice(two.data.length / 2) } as const;
      const { features: alone } = await executable.run({ pixel_values: one });
      const half = (both.data as Float32Array).slice(both.data.length / 2); // float32 by contract
      assertClose('the second image’s features', alone, { dtype: 'float32', shape: [1, patches, features], data: half });
    }),
  ];
}

/** Features to queries. */
export function bridgeConformance<Config extends BridgeConfig>(plugin: BridgePlugin<Config>, { engine, createGraph, config, featureWidth }: PartTools<Config> & { readonly featureWidth: number }): ConformanceCheck[] {
  return [
    keepsContract(plugin),
    check('its config fits its schema', () => fitsSchema(plugin.configSchema, config)),
    check('features of any number of patches give [queries, width]', async () => {
      const g = createGraph(plugin.name);
      const features = g.input('features', 'float32', ['batch', 'patches', featureWidth]);
      g.output('queries', plugin.build(g, config).encode(features).queries);
      await using executable = await engine.compile(g.graph, weightsOf(g.graph));
      for (const patches of [3, 5]) {
        const { queries } = await executable.run({ features: tensorOf([2, patches, featureWidth], patches) });
        assert(queries !== undefined && queries.shape.join() === `2,${plugin.queries(config)},${plugin.width(config)}`, `queries are [${queries?.shape.join(', ')}]; the plugin says [2, ${plugin.queries(config)}, ${plugin.width(config)}].`);
        assertFinite('queries', queries);
      }
    }),
  ];
}

const QUERIES = 3;

/** A prompt of two tokens after three queries, then two labels: read at once by the loss, and token by token. */
export function languageModelConformance<Config>(plugin: LanguageModelPlugin<Config>, tools: PartTools<Config>): ConformanceCheck[] {
  const { engine, createGraph, config } = tools;
  const softPrompt = tensorOf([1, QUERIES, plugin.width(config)], 5);
  const usable = Array.from({ length: plugin.vocabulary(config) }, (_, id) => id).filter((id) => !plugin.specialTokens(config).eos.includes(id));
  const [first = 0, second = 0, label = 0, last = 0] = [3, 4, 5, 6].map((i) => usable[i % usable.length]!);
  const feeds = { soft_prompt: softPrompt, input_ids: idsOf([1, 2], [first, second]), attention_mask: idsOf([1, 2], [1, 1]) };
  return [
    keepsContract(plugin),
    check('its config fits its schema', () => fitsSchema(plugin.configSchema, { ...plugin.defaults, ...config })),
    check('token by token it thinks what it thinks of the whole text', async () => {
      const graphs = { loss: lossGraph(plugin, config, createGraph), prefill: prefillGraph(plugin, config, createGraph), decode: decodeGraph(plugin, config, createGraph) };
      const weights = weightsOf(...Object.values(graphs));
      const subset = (graph: Graph): Map<string, TensorData> => new Map([...weights].filter(([name]) => graph.parameters.has(name)));
      await using loss = await engine.compile(graphs.loss, subset(graphs.loss));
      await using prefill = await engine.compile(graphs.prefill, subset(graphs.prefill));
      await using decode = await engine.compile(graphs.decode, subset(graphs.decode));
      const whole = await loss.run({ ...feeds, labels: idsOf([1, 2], [label, last]) });
      assert(whole['loss']?.data.length === 1, `loss is [${whole['loss']?.shape.join(', ')}], expected one number.`);
      assertFinite('loss', whole['loss']);
      const thought = (i: number): TensorData => rowOf(whole['logits'], i);
      const began = await prefill.run(feeds);
      if (plugin.architecture === 'decoder-only') assertClose('logits after the prompt', began['logits'], thought(0));
      const start = plugin.specialTokens(config).decoderStart;
      const read = plugin.architecture === 'decoder-only' ? [label] : [start ?? 0, label];
      const from = plugin.architecture === 'decoder-only' ? QUERIES + 2 : 0;
      let past = cachesOf(plugin, config, began, from, read.length);
      for (const [i, id] of read.entries()) {
        const slot = from + i;
        const seen = Array.from({ length: from + read.length }, (_, at) => Number(at <= slot));
        const step = await decode.run({
          input_ids: idsOf([1, 1], [id]),
          position_ids: idsOf([1, 1], [slot]),
          attention_mask: idsOf([1, seen.length], seen),
          write_indices: idsOf([1], [slot]),
          ...(plugin.architecture === 'encoder-decoder' ? { encoder_attention_mask: idsOf([1, QUERIES + 2], new Array(QUERIES + 2).fill(1)) } : {}),
          ...Object.fromEntries([...past].map(([name, tensor]) => [`past_key_values.${name}`, tensor])),
        });
        assertClose(`logits after token ${i + 1}`, step['logits'], thought(plugin.architecture === 'decoder-only' ? i + 1 : i));
        past = new Map([...past].map(([name, tensor]) => [name, step[`present.${name}`] ?? tensor]));
      }
    }),
  ];
}

function promptOf<Config>(g: GraphScope, plugin: LanguageModelPlugin<Config>, config: Config): { softPrompt: Tensor; promptIds: Tensor; promptMask: Tensor } {
  return {
    softPrompt: g.input('soft_prompt', 'float32', ['batch', 'queries', plugin.width(config)]),
    promptIds: g.input('input_ids', 'int64', ['batch', 'prompt']),
    promptMask: g.input('attention_mask', 'int64', ['batch', 'prompt']),
  };
}

function lossGraph<Config>(plugin: LanguageModelPlugin<Config>, config: Config, createGraph: GraphTools['createGraph']): Graph {
  const g = createGraph('loss');
  const { loss, logits } = plugin.loss(g, { ...promptOf(g, plugin, config), labels: g.input('labels', 'int64', ['batch', 'labels']) }, config);
  g.output('loss', loss);
  g.output('logits', logits);
  return g.graph;
}

function prefillGraph<Config>(plugin: LanguageModelPlugin<Config>, config: Config, createGraph: GraphTools['createGraph']): Graph {
  const g = createGraph('prefill');
  const { logits, present } = plugin.prefill(g, promptOf(g, plugin, config), config);
  if (logits !== null) g.output('logits', logits);
  for (const [name, tensor] of present) g.output(`present.${name}`, tensor);
  return g.graph;
}

function decodeGraph<Config>(plugin: LanguageModelPlugin<Config>, config: Config, createGraph: GraphTools['createGraph']): Graph {
  const g = createGraph('decode');
  const past = new Map<string, Tensor>();
  for (const { name, kind, heads, headWidth } of plugin.caches(config)) past.set(name, g.input(`past_key_values.${name}`, 'float32', ['batch', heads, kind === 'self' ? 'cache' : 'source', headWidth]));
  const { logits, present } = plugin.decode(
    g,
    {
      inputIds: g.input('input_ids', 'int64', ['batch', 1]),
      positionIds: g.input('position_ids', 'int64', ['batch', 1]),
      attentionMask: g.input('attention_mask', 'int64', ['batch', 'cache']),
      writeIndices: g.input('write_indices', 'int64', ['batch']),
      past,
      ...(plugin.architecture === 'encoder-decoder' ? { encoderMask: g.input('encoder_attention_mask', 'int64', ['batch', 'source']) } : {}),
    },
    config,
  );
  g.output('logits', logits);
  for (const [name, tensor] of present) g.output(`present.${name}`, tensor);
  return g.graph;
}

/** What the prefill remembers, with room for what is to come. */
function cachesOf<Config>(plugin: LanguageModelPlugin<Config>, config: Config, present: Readonly<Record<string, TensorData>>, filled: number, more: number): Map<string, TensorData> {
  const caches = new Map<string, TensorData>();
  for (const { name, kind, heads, headWidth } of plugin.caches(config)) {
    const had = present[`present.${name}`];
    if (kind === 'cross') {
      assert(had !== undefined, `prefill gives no ${name}, which caches() names.`);
      caches.set(name, had);
      continue;
    }
    const slots = filled + more;
    const data = new Float32Array(heads * slots * headWidth);
    if (filled > 0) {
      assert(had?.shape.join() === `1,${heads},${filled},${headWidth}`, `prefill's ${name} is [${had?.shape.join(', ')}], expected [1, ${heads}, ${filled}, ${headWidth}].`);
      for (let head = 0; head < heads; head++) data.set((had.data as Float32Array).subarray(head * filled * headWidth, (head + 1) * filled * headWidth), head * slots * headWidth); // float32 by contract
    }
    caches.set(name, { dtype: 'float32', shape: [1, heads, slots, headWidth], data });
  }
  return caches;
}

/** Row `i` of logits [1, labels, vocabulary], as [1, vocabulary]. */
function rowOf(logits: TensorData | undefined, i: number): TensorData<'float32'> {
  const vocabulary = logits?.shape[2];
  assert(logits !== undefined && vocabulary !== undefined, 'loss gives no logits [batch, labels, vocabulary].');
  return { dtype: 'float32', shape: [1, vocabulary], data: (logits.data as Float32Array).slice(i * vocabulary, (i + 1) * vocabulary) }; // float32 by contract
}
