/** A language model by itself, without an image: for measuring it (`precision-report.ts`, `bench-decode.ts`). */
import type { Engine, Executable, Graph, LanguageModelPlugin, PluginRegistry } from '@querent/core';
import { languageConfig } from '@querent/core';
import { createGraph } from '@querent/graph';
import type { ModelFolder } from '@querent/hub';
import { isJsonObject, matchParameters, openModelFolder } from '@querent/hub';
import type { DecodingExecutables } from '@querent/llm-adapters';
import { decodeGraph, extendGraph, prefillGraph } from '@querent/llm-adapters';
import type { HeldWeights, Precision } from './precision.ts';
import { holdWeights } from './precision.ts';
import { LANGUAGE_SCOPE } from './model-graphs.ts';

export interface TextModel {
  readonly folder: ModelFolder;
  readonly plugin: LanguageModelPlugin;
  readonly config: unknown;
  readonly held: HeldWeights;
  /** In float32, before `held.rewrite`. */
  readonly graphs: TextGraphs;
  /**
   * Inputs `input_ids`, `attention_mask` and, for `decode` and `extend`, the caches: see the adapters' `graphs.ts`. The caller disposes them.
   *
   * @throws QuerentError QRT_MODEL_UNSUPPORTED for `extend` where the model has no such graph.
   */
  compile(name: TextGraph): Promise<Executable>;
  /** What `generate` runs. */
  decoding(): Promise<DecodingExecutables & AsyncDisposable>;
}

export type TextGraphs = Readonly<Record<Exclude<TextGraph, 'extend'>, Graph>> & { readonly extend?: Graph };

/** `extend` is prefill and decode in one, where the model can. `score`: `input_ids`, `attention_mask`, `labels` → `token_log_probs` and `logits` of the labels. */
export type TextGraph = 'prefill' | 'decode' | 'extend' | 'score';

/**
 * @param path a language model's folder, a whole model's, whose language model is taken, or a `.gguf` file
 * @throws QuerentError as `querent.load` does.
 */
export async function openTextModel(path: string, registry: PluginRegistry, engine: Engine, precision?: Precision, signal?: AbortSignal): Promise<TextModel> {
  const folder = await openModelFolder(path);
  const inner = folder.config['text_config'];
  const given = isJsonObject(inner) ? inner : folder.config;
  const plugin = registry.get('language-model', String(given['model_type']));
  const prefix = isJsonObject(inner) ? LANGUAGE_SCOPE : '';
  const has = (name: string): boolean => folder.parameters.has(prefix === '' ? name : `${prefix}.${name}`);
  const config = languageConfig(plugin, given, has, { what: 'the config', file: folder.path });
  const graphs: TextGraphs = {
    prefill: prefillGraph(plugin, config, { prefix, softPrompt: false }),
    decode: decodeGraph(plugin, config, { prefix }),
    ...(plugin.extend === undefined ? {} : { extend: extendGraph(plugin, config, { prefix, softPrompt: false }) }),
    score: scoreGraph(plugin, config, prefix),
  };
  const held = await holdWeights(Object.values(graphs), folder.parameters, {
    ...(precision === undefined ? {} : { precision }),
    vocabulary: plugin.vocabulary(config),
    partOf: (name) => (name.startsWith(prefix) ? 'language' : 'trained'),
    beside: folder.parts.get('text_config')?.path ?? folder.path,
    ...(signal === undefined ? {} : { signal }),
  });
  const compile = (name: TextGraph): Promise<Executable> => {
    const graph = held.rewrite(graphs[name] ?? extendGraph(plugin, config, { prefix, softPrompt: false }));
    const { parameters } = matchParameters(graph.parameters, held.available, { file: folder.path });
    return engine.compile(graph, parameters, signal === undefined ? {} : { signal });
  };
  return {
    folder,
    plugin,
    config,
    held,
    graphs,
    compile,
    async decoding() {
      if (plugin.extend !== undefined) {
        const both = await compile('extend');
        return { prefill: both, decode: both, [Symbol.asyncDispose]: () => both[Symbol.asyncDispose]() };
      }
      const prefill = await compile('prefill');
      try {
        const decode = await compile('decode');
        return {
          prefill,
          decode,
          async [Symbol.asyncDispose]() {
            await decode[Symbol.asyncDispose]();
            await prefill[Symbol.asyncDispose]();
          },
        };
      } catch (error) {
        await prefill[Symbol.asyncDispose]();
        throw error;
      }
    },
  };
}

function scoreGraph(plugin: LanguageModelPlugin, config: unknown, prefix: string): Graph {
  const g = createGraph(`${plugin.name}.score`);
  const inputs = {
    promptIds: g.input('input_ids', 'int64', ['batch', 'prompt']),
    promptMask: g.input('attention_mask', 'int64', ['batch', 'prompt']),
    labels: g.input('labels', 'int64', ['batch', 'labels']),
  };
  const { tokenLogProbs, logits } = plugin.loss(prefix === '' ? g : g.scope(prefix), inputs, config);
  g.output('token_log_probs', tokenLogProbs);
  g.output('logits', logits);
  return g.graph;
}
