/** What every engine promises: compile a graph once, run it often. Types only. */
import type { DType, ParameterSet, TensorData } from '../tensor.ts';
import type { Graph, Shape } from './graph.ts';

export interface PortInfo {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
}

export interface CompileOptions {
  /**
   * Parameters that become graph inputs, fed at each run under their own names (trained weights). The others are
   * frozen: their bytes must be in the ParameterSet and are mapped or copied once.
   */
  readonly asInputs?: Iterable<string>;
  /** Training graphs run with the memory pattern off. Default `inference`. */
  readonly purpose?: 'inference' | 'training';
  readonly signal?: AbortSignal;
}

export interface RunOptions {
  /** Which outputs to compute and return; all when absent. */
  readonly outputs?: readonly string[];
  /** Preallocated outputs, by name: written in place and returned as they are. May alias a feed (KV cache). */
  readonly into?: Readonly<Record<string, TensorData>>;
  /** Acts between runs: a run that has begun is finished. */
  readonly signal?: AbortSignal;
}

/** A compiled graph. Feeds stay the caller's; outputs become the caller's. */
export interface Executable extends AsyncDisposable {
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  /**
   * @throws QuerentError QRT_ENGINE_FEED when a feed is missing, unknown or of another dtype or shape.
   * @throws QuerentError QRT_ENGINE_RUN when the engine fails.
   */
  run(feeds: Readonly<Record<string, TensorData>>, options?: RunOptions): Promise<Record<string, TensorData>>;
}

export interface ProgramOptions {
  readonly signal?: AbortSignal;
  /** Executables the program may use, by the name it knows them under. They must belong to this engine. */
  readonly executables?: Readonly<Record<string, Executable>>;
}

/** What a program sees of its host. */
export interface ProgramContext {
  readonly executables: Readonly<Record<string, Executable>>;
  readonly signal: AbortSignal;
  /** Compile on the host's side (a training program builds its own graphs). */
  compile(graph: Graph, parameters: ParameterSet, options?: CompileOptions): Promise<Executable>;
}

/** A loop that runs beside the sessions; its events cross to the caller, so they must be structured-cloneable. */
export type Program<Args, Event> = (args: Args, context: ProgramContext) => AsyncIterable<Event>;

/** One device's queue of work. */
export interface Engine extends AsyncDisposable {
  /** `engine:backend`, for instance `onnxruntime:cpu`. */
  readonly name: string;
  /**
   * @throws QuerentError QRT_ENGINE_COMPILE when the graph is refused, QRT_CHECKPOINT_MISMATCH when parameters are missing.
   */
  compile(graph: Graph, parameters: ParameterSet, options?: CompileOptions): Promise<Executable>;
  /**
   * Imports `moduleUrl` on the engine's side and runs its export `exportName`, a {@link Program}, there.
   * `args` must be structured-cloneable.
   */
  program<Event>(moduleUrl: string | URL, exportName: string, args: unknown, options?: ProgramOptions): AsyncIterable<Event>;
}

export interface EngineOptions {
  /** `cpu`, `cuda`, `webgpu`, … Default `cpu`. */
  readonly backend?: string;
  /** Threads within an operator; default: the machine's cores. */
  readonly threads?: number;
  /** Run in the caller's thread instead of a worker. Default false. */
  readonly inPlace?: boolean;
}
