/**
 * The engine in the caller's thread: for scripts, tests and the inside of the worker. A run holds the thread until it is done;
 * `host.ts` keeps the caller's thread free. Read plan.ts (graph → ONNX and weights) and session.ts (feeds → outputs) next.
 */
import { availableParallelism } from 'node:os';
import type { CompileOptions, Engine, EngineOptions, Executable, Graph, ParameterSet, ProgramContext, ProgramOptions } from '@querent/core';
import { QuerentError, runProgram } from '@querent/core';
import { planModel } from './plan.ts';
import type { ModelPlan } from './plan.ts';
import { parseProvider } from './providers.ts';
import { FairQueue } from './queue.ts';
import type { SessionSettings } from './session.ts';
import { OnnxExecutable, closedError, openSession } from './session.ts';

export interface OnnxEngineOptions extends EngineOptions {
  /**
   * Graphs with at most this many bytes of weights in files let onnxruntime rearrange (copy) them for faster products;
   * larger ones are mapped and never copied. Default 0: always mapped.
   */
  readonly prepackBytes?: number;
}

/** The in-place engine, which can also take a plan that was made elsewhere. */
export interface OnnxEngine extends Engine {
  /** Makes a session of a plan; used where the graph itself cannot go. */
  open(plan: ModelPlan): Promise<OnnxExecutable>;
}

/**
 * An engine on onnxruntime-node in the caller's thread.
 *
 * @param around Wraps every call into onnxruntime; the worker marks with it when it must not be ended.
 * @throws QuerentError QRT_ENGINE_PROVIDER when the backend is not available, QRT_USAGE for a thread count that is none.
 *
 * @example
 * await using engine = createOnnxEngine();
 * await using double = await engine.compile(g.graph, new Map());
 * const { y } = await double.run({ x: float32([2], [1, 2]) });
 */
export function createOnnxEngine(options: OnnxEngineOptions = {}, around: SessionSettings['around'] = (work) => work()): OnnxEngine {
  return new InPlaceEngine({ ...readOptions(options), around });
}

/** Options with their defaults, checked. Throws as {@link createOnnxEngine} does. */
export function readOptions(options: OnnxEngineOptions): Omit<SessionSettings, 'around'> {
  const { backend = 'cpu', threads = availableParallelism(), prepackBytes = 0 } = options;
  if (!Number.isInteger(threads) || threads < 1) {
    throw new QuerentError('QRT_USAGE', `threads is ${threads}; expected a whole number of at least 1.`);
  }
  return { provider: parseProvider(backend), threads, prepackBytes };
}

/** Larger operators are the CPU's: other providers have them in other forms. */
export function isFused(provider: SessionSettings['provider']): boolean {
  return provider === 'cpu';
}

class InPlaceEngine implements OnnxEngine {
  readonly name: string;
  readonly #settings: SessionSettings;
  /** onnxruntime holds the thread, so one run at a time; the queue makes the turns fair. */
  readonly #queue: FairQueue = new FairQueue(1);
  readonly #executables: Set<OnnxExecutable> = new Set();
  #closing: Promise<void> | undefined;

  constructor(settings: SessionSettings) {
    this.name = `onnxruntime:${settings.provider}`;
    this.#settings = settings;
  }

  async compile(graph: Graph, parameters: ParameterSet, options: CompileOptions = {}): Promise<OnnxExecutable> {
    options.signal?.throwIfAborted();
    const executable = await this.open(await planModel(graph, parameters, { ...options, isFused: isFused(this.#settings.provider) }));
    if (options.signal?.aborted !== true) return executable;
    await executable[Symbol.asyncDispose]();
    throw options.signal.reason;
  }

  async open(plan: ModelPlan): Promise<OnnxExecutable> {
    if (this.#closing !== undefined) throw closedError(`engine ${this.name}`);
    const executable = await openSession(plan, this.#settings, this.#queue, (closed) => this.#executables.delete(closed));
    this.#executables.add(executable);
    return executable;
  }

  async *program<Event>(moduleUrl: string | URL, exportName: string, args: unknown, options: ProgramOptions = {}): AsyncGenerator<Event, void, undefined> {
    if (this.#closing !== undefined) throw closedError(`engine ${this.name}`);
    const lane = {};
    const own: OnnxExecutable[] = [];
    const executables: Record<string, Executable> = {};
    for (const [name, executable] of Object.entries(options.executables ?? {})) {
      if (!(executable instanceof OnnxExecutable) || !this.#executables.has(executable)) throw foreignError(name, this.name);
      executables[name] = laneView(executable, lane);
    }
    const context: ProgramContext = {
      executables,
      signal: options.signal ?? new AbortController().signal,
      compile: async (graph, parameters, compileOptions) => {
        const executable = await this.compile(graph, parameters, compileOptions);
        own.push(executable);
        return laneView(executable, lane);
      },
    };
    try {
      yield* runProgram<Event>(moduleUrl, exportName, args, context);
    } finally {
      // What a program compiled ends with it.
      for (const executable of own) await executable[Symbol.asyncDispose]();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= (async () => {
      await this.#queue.close(closedError(`engine ${this.name}`));
      for (const executable of this.#executables) await executable[Symbol.asyncDispose]();
      this.#executables.clear();
    })();
    return this.#closing;
  }
}

/** An executable as a program sees it: its runs wait in the program's lane. */
function laneView(executable: OnnxExecutable, lane: object): Executable {
  return {
    inputs: executable.inputs,
    outputs: executable.outputs,
    run: (feeds, options) => executable.runIn(lane, feeds, options),
    [Symbol.asyncDispose]: () => executable[Symbol.asyncDispose](),
  };
}

/** An executable of another engine was given to a program. */
export function foreignError(name: string, engine: string): QuerentError {
  return new QuerentError('QRT_USAGE', `The executable ${name} was not compiled by this engine (${engine}).`, {
    fix: 'Compile it with the engine that runs the program.',
  });
}
