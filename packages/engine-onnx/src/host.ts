/**
 * The engine on a worker thread: the same contract as engine.ts, while the caller's thread stays free. A run copies its feeds into memory that
 * both threads see and gets its outputs by transfer; weights never cross. For loops use programs, whose steps cross nothing.
 */
import type { CompileOptions, Engine, Executable, Graph, ParameterSet, PortInfo, ProgramOptions, RunOptions, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import { EVENT_WINDOW, openDevice } from './device.ts';
import type { Device } from './device.ts';
import { createOnnxEngine, foreignError, isFused, readOptions } from './engine.ts';
import type { OnnxEngineOptions } from './engine.ts';
import { planModel } from './plan.ts';
import type { ModelPlan } from './plan.ts';
import { checkFeeds, checkInto, chooseOutputs } from '@querent/graph';
import type { CompileReply, RunReply } from './protocol.ts';
import { RULES } from './ort-tensors.ts';
import { closedError } from './session.ts';

/**
 * An engine whose runs happen on the device's worker thread. The thread starts at once, so that it is there when the first graph is; it is shared by
 * all engines with the same options, and does not keep a finished script alive.
 *
 * @throws QuerentError QRT_ENGINE_PROVIDER when the backend is not available.
 *
 * @example
 * await using engine = createOnnxHost({ backend: 'cpu' });
 * await using model = await engine.compile(graph, parameters);
 * const { logits } = await model.run(feeds, { signal });
 */
export function createOnnxHost(options: OnnxEngineOptions = {}): Engine {
  const { provider } = readOptions(options);
  return new HostEngine(`onnxruntime:${provider}`, isFused(provider), openDevice(options).start());
}

/** The engine that the options ask for: in place, or (the default) on a worker thread. */
export function createEngine(options: OnnxEngineOptions = {}): Engine {
  return options.inPlace === true ? createOnnxEngine(options) : createOnnxHost(options);
}

class HostEngine implements Engine {
  readonly name: string;
  readonly #isFused: boolean;
  readonly #device: Device;
  readonly #executables: Set<HostExecutable> = new Set();
  readonly #closed: AbortController = new AbortController();
  /** What is under way, so that the worker is idle when it is let go. */
  readonly #busy: Set<Promise<unknown>> = new Set();
  #closing: Promise<void> | undefined;

  constructor(name: string, isFused: boolean, device: Device) {
    this.name = name;
    this.#isFused = isFused;
    this.#device = device;
  }

  async compile(graph: Graph, parameters: ParameterSet, options: CompileOptions = {}): Promise<Executable> {
    this.#assertOpen();
    const { signal } = options;
    signal?.throwIfAborted();
    const plan = await planModel(graph, parameters, { ...options, isFused: this.#isFused });
    this.#assertOpen();
    // Copies of exactly these bytes, given away: a clone of a view would take its whole buffer along.
    const weights = plan.weights.map(({ path, data }) => ({ path, data: data.slice() }));
    const sent: ModelPlan = { ...plan, onnx: plan.onnx.slice(), weights };
    const transfer = [sent.onnx, ...weights.map(({ data }) => data)].map(({ buffer }) => buffer as ArrayBuffer); // slice() makes plain ones
    const reply = (await this.#track(this.#device.request({ type: 'compile', plan: sent }, transfer))) as CompileReply; // worker.ts's answer to it
    const executable = new HostExecutable(plan, reply, this.#device, (work) => this.#track(work), (closed) => this.#executables.delete(closed));
    this.#executables.add(executable);
    if (signal?.aborted === true || this.#closing !== undefined) {
      await executable[Symbol.asyncDispose]();
      signal?.throwIfAborted();
      this.#assertOpen();
    }
    return executable;
  }

  async *program<Event>(moduleUrl: string | URL, exportName: string, args: unknown, options: ProgramOptions = {}): AsyncGenerator<Event, void, undefined> {
    this.#assertOpen();
    options.signal?.throwIfAborted();
    const executables: Record<string, number> = {};
    for (const [name, executable] of Object.entries(options.executables ?? {})) {
      if (!(executable instanceof HostExecutable) || !this.#executables.has(executable)) throw foreignError(name, this.name);
      executables[name] = executable.id;
    }
    const stream = new EventStream<Event>();
    const request = { type: 'program', moduleUrl: String(moduleUrl), exportName, args, executables, window: EVENT_WINDOW } as const;
    const id = this.#send(request, stream);
    const cancel = (): void => this.#device.tell({ type: 'cancel', id });
    const signals = [this.#closed.signal, ...(options.signal === undefined ? [] : [options.signal])];
    for (const signal of signals) signal.addEventListener('abort', cancel, { once: true });
    void this.#track(stream.ended);
    try {
      for (;;) {
        const next = await this.#device.hold(stream.next());
        options.signal?.throwIfAborted();
        this.#assertOpen();
        if (next === undefined) break;
        yield next.event;
        options.signal?.throwIfAborted();
        this.#device.tell({ type: 'credit', id, events: 1 });
      }
    } catch (error) {
      if (options.signal?.aborted === true) throw options.signal.reason;
      throw error;
    } finally {
      for (const signal of signals) signal.removeEventListener('abort', cancel);
      // Also when the caller just stops reading: once this is over, nothing of the program runs any more.
      if (!stream.isOver) cancel();
      await this.#device.hold(stream.ended);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#closed.abort();
    for (const executable of this.#executables) await executable[Symbol.asyncDispose]();
    while (this.#busy.size > 0) await Promise.allSettled(this.#busy);
    await this.#device.release();
  }

  #send(request: Parameters<Device['send']>[0], stream: EventStream<unknown>): number {
    try {
      return this.#device.send(request, stream);
    } catch (cause) {
      if (!(cause instanceof DOMException)) throw cause;
      throw new QuerentError('QRT_USAGE', `The program's arguments cannot cross threads: ${cause.message}`, {
        fix: 'Give plain data, or use the engine in place (inPlace: true), where functions are allowed.',
        cause,
      });
    }
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#busy.add(work);
    const forget = (): void => void this.#busy.delete(work);
    work.then(forget, forget);
    return work;
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw closedError(`engine ${this.name}`);
  }
}

/** Events as they come from the worker, at most EVENT_WINDOW of them unread. */
class EventStream<Event> {
  readonly ended: Promise<void>;
  isOver = false;
  readonly #events: Event[] = [];
  #error: { readonly thrown: unknown } | undefined;
  #wake: (() => void) | undefined;
  #end: () => void = () => {};

  constructor() {
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  event(event: unknown): void {
    this.#events.push(event as Event); // the type that the caller names for this program
    this.#wake?.();
  }

  done(): void {
    this.isOver = true;
    this.#end();
    this.#wake?.();
  }

  failed(error: unknown): void {
    this.#error = { thrown: error };
    this.done();
  }

  /** The next event; undefined at the end. */
  async next(): Promise<{ readonly event: Event } | undefined> {
    while (this.#events.length === 0 && !this.isOver) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#events.length > 0) return { event: this.#events.shift() as Event }; // it is not empty
    if (this.#error !== undefined) throw this.#error.thrown;
    return undefined;
  }
}

class HostExecutable implements Executable {
  readonly id: number;
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  readonly #graph: string;
  readonly #unused: ReadonlySet<string>;
  readonly #device: Device;
  readonly #track: <T>(work: Promise<T>) => Promise<T>;
  readonly #onClose: (executable: HostExecutable) => void;
  readonly #closed: AbortController = new AbortController();
  #closing: Promise<void> | undefined;

  constructor(
    plan: ModelPlan,
    reply: CompileReply,
    device: Device,
    track: <T>(work: Promise<T>) => Promise<T>,
    onClose: (executable: HostExecutable) => void,
  ) {
    this.id = reply.executable;
    this.inputs = reply.inputs;
    this.outputs = plan.outputs;
    this.#graph = plan.graph;
    const needed = new Set(reply.inputs.map(({ name }) => name));
    this.#unused = new Set(plan.parameterInputs.map(({ name }) => name).filter((name) => !needed.has(name)));
    this.#device = device;
    this.#track = track;
    this.#onClose = onClose;
  }

  async run(feeds: Readonly<Record<string, TensorData>>, options: RunOptions = {}): Promise<Record<string, TensorData>> {
    const { into = {}, signal } = options;
    signal?.throwIfAborted();
    if (this.#closing !== undefined) throw closedError(`graph ${this.#graph}`);
    const sizes = checkFeeds(this.#graph, this.inputs, feeds, { ...RULES, unused: this.#unused });
    checkInto(this.#graph, this.outputs, into, sizes, RULES);
    const outputs = chooseOutputs(this.#graph, this.outputs, options.outputs, into).map(({ name }) => name);
    return this.#track(this.#device.queue.run(this, () => this.#send(feeds, outputs, into, signal), signal));
  }

  async #send(
    feeds: Readonly<Record<string, TensorData>>,
    outputs: readonly string[],
    into: Readonly<Record<string, TensorData>>,
    signal: AbortSignal | undefined,
  ): Promise<Record<string, TensorData>> {
    if (this.#closed.signal.aborted) throw closedError(`graph ${this.#graph}`);
    const { pool } = this.#device;
    const copies: Record<string, TensorData> = {};
    for (const { name } of this.inputs) {
      const feed = feeds[name];
      if (feed !== undefined) copies[name] = pool.copy(feed);
    }
    const reply = (await this.#device.request({ type: 'run', executable: this.id, feeds: copies, outputs }, [], signal)) as RunReply; // worker.ts's answer
    // Only now: the worker may still read what a run that was cancelled would have been fed.
    for (const { data } of Object.values(copies)) pool.give(data.buffer);
    const values: Record<string, TensorData> = { ...reply.outputs };
    for (const [name, target] of Object.entries(into)) {
      const value = values[name];
      if (value === undefined) continue;
      bytesOf(target).set(bytesOf(value));
      values[name] = target;
    }
    return values;
  }

  [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing === undefined) {
      this.#closed.abort();
      this.#closing = this.#track(this.#close());
    }
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      await this.#device.request({ type: 'dispose', executable: this.id });
    } catch {
      // The worker is gone, and the session with it.
    }
    this.#onClose(this);
  }
}

function bytesOf({ data }: TensorData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
