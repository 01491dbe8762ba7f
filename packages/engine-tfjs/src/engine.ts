/**
 * The second engine: the same graphs on TensorFlow.js, in the caller's thread. Read backends.ts (what computes), plan.ts (what of a graph
 * runs) and executable.ts (the interpreter) next; the operators are in kernels/.
 */
import type { CompileOptions, Engine, EngineOptions, Executable, Graph, ParameterSet, ProgramContext, ProgramOptions } from '@querent/core';
import { QuerentError, runProgram } from '@querent/core';
import type { BackendChoice } from './backends.ts';
import { openBackend } from './backends.ts';
import { TfjsExecutable, closedError } from './executable.ts';
import { TFJS_KERNELS } from './kernels/needed.ts';
import { assertRunnable, neededBy } from './plan.ts';
import { unpackGraph } from './unpack.ts';
import { uploadParameters } from './weights.ts';

/** An engine on TensorFlow.js: says which backend it took. */
export interface TfjsEngine extends Engine {
  readonly choice: BackendChoice;
}

/**
 * An engine on TensorFlow.js. A run holds the thread until its outputs are read; between runs others get their turn. The
 * thread count is the backend's own: plain JavaScript and WASM use one, the addon all cores.
 *
 * @param options `backend` is auto (the default), node-gpu, node, webgpu, wasm or cpu.
 * @throws QuerentError QRT_ENGINE_PROVIDER when the backend is unknown or does not work here.
 *
 * @example
 * await using engine = await createTfjsEngine({ backend: 'cpu' });
 * await using double = await engine.compile(g.graph, new Map());
 * const { y } = await double.run({ x: float32([2], [1, 2]) });
 */
export async function createTfjsEngine({ backend = 'auto' }: EngineOptions = {}): Promise<TfjsEngine> {
  return new InPlaceEngine(await openBackend(backend));
}

class InPlaceEngine implements TfjsEngine {
  readonly name: string;
  readonly choice: BackendChoice;
  readonly #executables: Set<TfjsExecutable> = new Set();
  #closing: Promise<void> | undefined;

  constructor(choice: BackendChoice) {
    this.name = `tfjs:${choice.backend.name}`;
    this.choice = choice;
  }

  async compile(given: Graph, parameters: ParameterSet, options: CompileOptions = {}): Promise<TfjsExecutable> {
    options.signal?.throwIfAborted();
    this.#assertOpen();
    const { backend } = this.choice;
    const { tf } = backend;
    backend.use();
    const registered = tf.getBackend();
    const fed = new Set(options.asInputs);
    const unpacked = unpackGraph(given, (name) => !fed.has(name));
    const { graph } = unpacked;
    assertRunnable(graph, this.name, (kernel) => tf.getKernel(kernel, registered) !== undefined, TFJS_KERNELS);
    const asInputs = new Set([...fed].filter((name) => graph.parameters.has(name)));
    const needed = neededBy(graph, graph.outputs.values());
    const names = [...graph.parameters.values()].filter(({ name, tensor }) => !asInputs.has(name) && needed.has(tensor.name)).map(({ name }) => name);
    const frozen = await uploadParameters(tf, unpacked, names, parameters, () => backend.use());
    const executable = new TfjsExecutable({ graph, backend, frozen, asInputs, onClose: (closed) => this.#executables.delete(closed) });
    this.#executables.add(executable);
    if (options.signal?.aborted === true || this.#closing !== undefined) {
      await executable[Symbol.asyncDispose]();
      options.signal?.throwIfAborted();
      this.#assertOpen();
    }
    return executable;
  }

  async *program<Event>(moduleUrl: string | URL, exportName: string, args: unknown, options: ProgramOptions = {}): AsyncGenerator<Event, void, undefined> {
    this.#assertOpen();
    for (const [name, executable] of Object.entries(options.executables ?? {})) {
      if (!(executable instanceof TfjsExecutable) || !this.#executables.has(executable)) {
        throw new QuerentError('QRT_USAGE', `The executable ${name} was not compiled by this engine (${this.name}).`, { fix: 'Compile it with the engine that runs the program.' });
      }
    }
    const own: Executable[] = [];
    const context: ProgramContext = {
      executables: options.executables ?? {},
      signal: options.signal ?? new AbortController().signal,
      compile: async (graph, parameters, compileOptions) => {
        const executable = await this.compile(graph, parameters, compileOptions);
        own.push(executable);
        return executable;
      },
    };
    try {
      yield* runProgram<Event>(String(moduleUrl), exportName, args, context);
    } finally {
      for (const executable of own) await executable[Symbol.asyncDispose](); // what a program compiled ends with it
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= (async () => {
      for (const executable of this.#executables) await executable[Symbol.asyncDispose]();
    })();
    return this.#closing;
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw closedError(`engine ${this.name}`);
  }
}
