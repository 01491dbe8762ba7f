/** A model's graphs, compiled when they are first needed, and freed together. */
import type { Engine, Executable, LanguageModelPlugin, ParameterData } from '@querent/core';
import { QuerentError } from '@querent/core';
import { matchParameters } from '@querent/hub';
import type { DecodingExecutables } from '@querent/llm-adapters';
import type { GraphName, ModelGraphs } from './model-graphs.ts';

/**
 * The graphs that a language model writes with. Two sessions would each hold quantised weights rearranged for their products, so a model
 * that can read and write in one graph does.
 */
export function decodingGraphs(plugin: Pick<LanguageModelPlugin, 'extend'>): readonly GraphName[] {
  return plugin.extend === undefined ? ['prefill', 'decode'] : ['extend'];
}

export class Executables implements AsyncDisposable {
  readonly engine: Engine;
  readonly #graphs: ModelGraphs;
  readonly #available: ReadonlyMap<string, ParameterData>;
  readonly #name: string;
  readonly #compiled: Map<GraphName, Promise<Executable>> = new Map();
  #closing: Promise<void> | undefined;

  constructor(engine: Engine, graphs: ModelGraphs, available: ReadonlyMap<string, ParameterData>, name: string) {
    this.engine = engine;
    this.#graphs = graphs;
    this.#available = available;
    this.#name = name;
  }

  /** @throws QuerentError QRT_CHECKPOINT_MISMATCH when the graph needs tensors that are not there; what the engine throws. */
  get(name: GraphName): Promise<Executable> {
    if (this.#closing !== undefined) {
      return Promise.reject(
        new QuerentError('QRT_USAGE', `${this.#name} was asked to work after it had been disposed.`, { fix: 'Dispose it after the last call, or load it again.' }),
      );
    }
    const known = this.#compiled.get(name);
    if (known !== undefined) return known;
    const compiling = this.#compile(name);
    this.#compiled.set(name, compiling);
    compiling.catch(() => this.#compiled.delete(name)); // the next call tries again
    return compiling;
  }

  /** What `generate` runs; a prompt of the image alone has a prefill of its own where prefill and decode are two. */
  async decoding(plugin: Pick<LanguageModelPlugin, 'extend'>, hasText: boolean): Promise<DecodingExecutables> {
    if (plugin.extend === undefined) return { prefill: await this.get(hasText ? 'prefill' : 'prefill_without_text'), decode: await this.get('decode') };
    const both = await this.get('extend');
    return { prefill: both, decode: both };
  }

  async #compile(name: GraphName): Promise<Executable> {
    const graph = this.#graphs[name]();
    const { parameters } = matchParameters(graph.parameters, this.#available, { file: this.#name });
    return this.engine.compile(graph, parameters);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= (async () => {
      for (const compiling of this.#compiled.values()) {
        const executable = await compiling.catch(() => undefined); // what failed to compile holds nothing
        await executable?.[Symbol.asyncDispose]();
      }
      this.#compiled.clear();
    })();
    return this.#closing;
  }
}
