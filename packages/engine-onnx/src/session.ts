/** One compiled graph in this thread: an onnxruntime session with checked feeds. Runs of all sessions go through the engine's one queue. */
import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { InferenceSession as Session, env } from 'onnxruntime-node';
import { MessageChannel } from 'node:worker_threads';
import type { Executable, PortInfo, RunOptions, TensorData, TypedArray } from '@querent/core';
import { QuerentError } from '@querent/core';
import type { ModelPlan } from './plan.ts';
import { checkFeeds, checkInto, chooseOutputs } from '@querent/graph';
import type { Provider } from './providers.ts';
import { providerError } from './providers.ts';
import type { FairQueue } from './queue.ts';
import { RULES, fromOrt, toOrt } from './ort-tensors.ts';
import { deviceHasHalves } from './webgpu.ts';

/** What all sessions of an engine share. */
export interface SessionSettings {
  readonly provider: Provider;
  readonly threads: number;
  /** Up to this many bytes of mapped weights are prepacked all the same: faster runs for a private copy. */
  readonly prepackBytes: number;
  /** Wraps every call into onnxruntime. */
  readonly around: <T>(work: () => Promise<T>) => Promise<T>;
}

/** onnxruntime's passes that turn 16-bit weights into float32 ones when a session is made. */
const WIDENING_OPTIMIZERS = 'ConstantFolding;FuseFp16InitializerToFp32NodeTransformer';

/** onnxruntime throws whatever it logs as an error, so only what ends the process is logged. */
const LOG_FATAL = 4;

/**
 * @throws QuerentError QRT_ENGINE_COMPILE when onnxruntime refuses the model, QRT_ENGINE_PROVIDER when the provider does not start.
 */
export async function openSession(
  plan: ModelPlan,
  settings: SessionSettings,
  queue: FairQueue,
  onClose: (executable: OnnxExecutable) => void,
): Promise<OnnxExecutable> {
  const prepack = plan.needsPrepacking || plan.mappedBytes <= settings.prepackBytes;
  const optionsFor = ({ providers, keepsHalves }: ProviderChoice): InferenceSession.SessionOptions => ({
    executionProviders: providers,
    intraOpNumThreads: settings.threads,
    // Training graphs too: no level was measurably faster, and creation takes 0.3 s instead of 0.1 s at 840 nodes.
    graphOptimizationLevel: 'all',
    // The memory pattern reserves what liveness had saved: measured 3.9 GB against 2.9 GB for one training process.
    enableMemPattern: plan.purpose === 'inference',
    // The arena keeps its memory between steps: measured a fifth less processor time than taking and touching it anew.
    enableCpuMemArena: true,
    logSeverityLevel: LOG_FATAL,
    extra: {
      session: {
        ...(prepack ? {} : { disable_prepacking: '1' }),
        ...(plan.weightFolder === undefined ? {} : { model_external_initializers_file_folder_path: plan.weightFolder }),
      },
      ...(keepsHalves ? { optimization: { disable_specified_optimizers: WIDENING_OPTIMIZERS } } : {}),
    },
    ...(plan.weights.length === 0 ? {} : { externalData: [...plan.weights] }),
  });
  env.logLevel = 'fatal'; // acts once, before the first session
  const create = async (): Promise<InferenceSession> => {
    try {
      return await settings.around(async () => Session.create(plan.onnx, optionsFor(await chooseProviders(plan, settings.provider))));
    } catch (cause) {
      throw compileError(plan, settings.provider, cause);
    }
  };
  return new OnnxExecutable(plan, await queue.run({}, create), settings, queue, onClose);
}

interface ProviderChoice {
  readonly providers: InferenceSession.ExecutionProviderConfig[];
  /** Are weights of 16 bits kept so? */
  readonly keepsHalves: boolean;
}

/** The provider, and the processor behind it for what it leaves. A WebGPU device without 16-bit floats has its weights widened once. */
async function chooseProviders({ keepsHalves, processorNodes: { always, halves } }: ModelPlan, provider: Provider): Promise<ProviderChoice> {
  if (provider !== 'webgpu') return { providers: provider === 'cpu' ? ['cpu'] : [provider, 'cpu'], keepsHalves };
  const hasHalves = halves.length === 0 || (await deviceHasHalves());
  const onProcessor = [...new Set(hasHalves ? always : [...always, ...halves])];
  const webgpu = onProcessor.length === 0 ? 'webgpu' : { name: 'webgpu' as const, forceCpuNodeNames: onProcessor }; // an empty list is refused
  return { providers: [webgpu, 'cpu'], keepsHalves: keepsHalves && hasHalves };
}

function compileError(plan: ModelPlan, provider: Provider, cause: unknown): QuerentError {
  const message = cause instanceof Error ? cause.message : String(cause);
  if (provider !== 'cpu' && /execution ?provider|shared library|adapter|backend|driver|device/i.test(message)) {
    return providerError(provider, message.slice(0, 300), cause);
  }
  return new QuerentError('QRT_ENGINE_COMPILE', `onnxruntime refused graph ${plan.graph}: ${message}`, {
    fix: 'The message names the node or weight. Does the provider have that operator, and are the weights complete?',
    cause,
  });
}

/** See the file header. */
export class OnnxExecutable implements Executable {
  readonly graph: string;
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  readonly #session: InferenceSession;
  readonly #around: SessionSettings['around'];
  readonly #queue: FairQueue;
  /** Parameters that were asked for as inputs and that no output depends on: they may be fed. */
  readonly #unused: ReadonlySet<string>;
  readonly #onClose: (executable: OnnxExecutable) => void;
  #closing: Promise<void> | undefined;

  constructor(
    plan: ModelPlan,
    session: InferenceSession,
    settings: SessionSettings,
    queue: FairQueue,
    onClose: (executable: OnnxExecutable) => void,
  ) {
    const needed = new Set(session.inputNames);
    this.graph = plan.graph;
    this.inputs = [...plan.inputs, ...plan.parameterInputs.filter(({ name }) => needed.has(name))];
    this.outputs = plan.outputs;
    this.#unused = new Set(plan.parameterInputs.filter(({ name }) => !needed.has(name)).map(({ name }) => name));
    this.#session = session;
    this.#around = settings.around;
    this.#queue = queue;
    this.#onClose = onClose;
  }

  run(feeds: Readonly<Record<string, TensorData>>, options: RunOptions = {}): Promise<Record<string, TensorData>> {
    return this.runIn(this, feeds, options);
  }

  /** Like `run`, waiting in the lane of another caller. */
  async runIn(lane: unknown, feeds: Readonly<Record<string, TensorData>>, options: RunOptions = {}): Promise<Record<string, TensorData>> {
    options.signal?.throwIfAborted();
    if (this.#closing !== undefined) throw closedError(`graph ${this.graph}`);
    const { into = {} } = options;
    const sizes = checkFeeds(this.graph, this.inputs, feeds, { ...RULES, unused: this.#unused });
    checkInto(this.graph, this.outputs, into, sizes, RULES);
    const outputs = chooseOutputs(this.graph, this.outputs, options.outputs, into);
    return this.#queue.run(lane, () => this.#run(feeds, outputs, into), options.signal);
  }

  async #run(
    feeds: Readonly<Record<string, TensorData>>,
    outputs: readonly PortInfo[],
    into: Readonly<Record<string, TensorData>>,
  ): Promise<Record<string, TensorData>> {
    if (this.#closing !== undefined) throw closedError(`graph ${this.graph}`);
    const given: Record<string, OrtTensor> = {};
    for (const { name } of this.inputs) {
      const feed = feeds[name];
      if (feed !== undefined) given[name] = toOrt(name, feed);
    }
    const fetches: Record<string, OrtTensor | null> = {};
    for (const { name } of outputs) {
      const target = into[name];
      fetches[name] = target === undefined ? null : toOrt(name, target);
    }
    let results: InferenceSession.ReturnType;
    try {
      results = await this.#around(() => this.#session.run(given, fetches));
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new QuerentError('QRT_ENGINE_RUN', `onnxruntime failed in graph ${this.graph}: ${message}`, { cause });
    }
    const values: Record<string, TensorData> = {};
    for (const { name, dtype } of outputs) {
      const result = results[name];
      const value = into[name] ?? (result === undefined ? undefined : fromOrt(dtype, result));
      if (value === undefined) throw new QuerentError('QRT_ENGINE_RUN', `onnxruntime gave no output ${name} for graph ${this.graph}.`);
      values[name] = value;
    }
    letGo(results, into);
    return values;
  }

  /** Frees the session once nothing of this engine runs. Twice is harmless. */
  [Symbol.asyncDispose](): Promise<void> {
    // A job of its own lane, so that it never lands inside a run.
    this.#closing ??= this.#queue
      .run({}, () => this.#around(() => this.#session.release()))
      .catch(() => this.#session.release()) // the queue is closed: nothing runs any more
      .finally(() => this.#onClose(this));
    return this.#closing;
  }
}

/** Copies of less than this together are left to the garbage collector. */
const LET_GO_BYTES = 2 ** 20;

/** Larger than any hole that the heap may have. */
const PLUG_BYTES = 2 ** 21;

/** Large answers so far, and what lies behind their copies, see `letGo`: taken with the second, as glibc maps the first one's apart. */
const heap: { answers: number; plug?: ArrayBuffer } = { answers: 0 };

/**
 * onnxruntime-node writes a preallocated output where it should and then answers with a copy of it, which would wait for the garbage
 * collector: gigabytes after some steps of a training. A buffer that is sent away and never received is freed at once. The next answer
 * takes the same memory again, so it should stay ours: glibc gives the free end of its heap back to the system, and with that every
 * page of every step is new, which cost a twentieth of a training step. Something small that lies behind keeps it from being the end.
 */
function letGo(results: InferenceSession.ReturnType, into: Readonly<Record<string, TensorData>>): void {
  const targets = new Set(Object.values(into).map(({ data }) => data.buffer));
  const buffers = new Set<ArrayBuffer>();
  let bytes = 0;
  for (const name of Object.keys(into)) {
    const buffer = (results[name]?.data as TypedArray | undefined)?.buffer; // numeric outputs only
    if (!(buffer instanceof ArrayBuffer) || targets.has(buffer)) continue;
    buffers.add(buffer);
    bytes += buffer.byteLength;
  }
  if (bytes < LET_GO_BYTES) return;
  if (++heap.answers === 2) heap.plug = new ArrayBuffer(PLUG_BYTES);
  const { port1, port2 } = new MessageChannel();
  port1.postMessage(null, [...buffers]);
  port1.close();
  port2.close();
}

/** What a closed engine or executable answers. */
export function closedError(what: string): QuerentError {
  return new QuerentError('QRT_ENGINE_RUN', `The engine was asked to work after ${what} had been disposed.`, {
    fix: 'Dispose it after the last run, or compile again.',
  });
}
