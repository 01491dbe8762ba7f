/**
 * One device's worker thread, seen from the caller's side: requests with answers, programs as streams, one fair queue. All engines made
 * for the same device share it, so that two models never fight over the same cores.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { QuerentError } from '@querent/core';
import { BufferPool, POOL_BYTES } from './buffers.ts';
import type { OnnxEngineOptions } from './engine.ts';
import { createGuard, waitUntilOutside } from './exit-guard.ts';
import type { CallerMessage, Request, WorkerMessage, WorkerStart } from './protocol.ts';
import { unpackError } from './protocol.ts';
import { FairQueue } from './queue.ts';

/**
 * Runs that may be with the worker at a time: one works, one is ready behind it. All others wait here, without copies of their feeds, and
 * can still be cancelled.
 */
export const MAX_RUNS_SENT = 2;
/** Events of one program that may be on their way or unread. */
export const EVENT_WINDOW = 4;

interface Pending {
  readonly done: (value: unknown) => void;
  readonly failed: (error: unknown) => void;
  readonly event?: (event: unknown) => void;
}

const devices = new Map<string, Device>();

/** See the file header. Get one with {@link openDevice}. */
export class Device {
  readonly queue: FairQueue = new FairQueue(MAX_RUNS_SENT);
  /**
   * What the worker reads feeds from. Shared, because a buffer that is sent away and comes back counts as new for the garbage collector each time: ten
   * megabytes a batch made it collect twice a second.
   */
  readonly pool: BufferPool = new BufferPool(POOL_BYTES, (byteLength) => new SharedArrayBuffer(byteLength));
  readonly #key: string;
  readonly #options: OnnxEngineOptions;
  readonly #guard: SharedArrayBuffer = createGuard();
  readonly #pending: Map<number, Pending> = new Map();
  #worker: Worker | undefined;
  #lastId = 0;
  #holds = 0;
  #users = 0;
  #failure: QuerentError | undefined;

  constructor(key: string, options: OnnxEngineOptions) {
    this.#key = key;
    this.#options = options;
  }

  /** Counts a user in. */
  use(): this {
    this.#users++;
    return this;
  }

  /** Starts the thread, which otherwise starts with the first request. */
  start(): this {
    this.#startWorker();
    return this;
  }

  /** Counts a user out; the last one ends the worker, which is idle then: nobody is left whose work it could do. */
  async release(): Promise<void> {
    if (--this.#users > 0) return;
    if (devices.get(this.#key) === this) devices.delete(this.#key);
    this.pool.clear();
    const worker = this.#worker;
    this.#worker = undefined;
    process.off('exit', this.#onExit);
    worker?.removeAllListeners('exit');
    await worker?.terminate();
  }

  /**
   * Sends a request and waits for its answer. When the signal fires, the worker is told, and unless the work had begun it rejects with
   * the signal's reason.
   */
  request(request: Request, transfer: readonly ArrayBuffer[] = [], signal?: AbortSignal): Promise<unknown> {
    const answer = new Promise((resolve, reject) => {
      const id = this.send(
        request,
        {
          done: (value) => {
            signal?.removeEventListener('abort', cancel);
            resolve(value);
          },
          failed: (error) => {
            signal?.removeEventListener('abort', cancel);
            reject(signal?.aborted === true ? signal.reason : error);
          },
        },
        transfer,
      );
      const cancel = (): void => this.tell({ type: 'cancel', id });
      signal?.addEventListener('abort', cancel, { once: true });
    });
    return this.hold(answer);
  }

  /** Keeps the process alive until `work` settles. A script that waits for nothing ends by itself, whether it disposed its engines or not. */
  async hold<T>(work: Promise<T>): Promise<T> {
    if (this.#holds++ === 0) this.#worker?.ref();
    try {
      return await work;
    } finally {
      if (--this.#holds === 0) this.#worker?.unref();
    }
  }

  /** Sends a request whose answer goes to `pending`; gives its id. */
  send(request: Request, pending: Pending, transfer: readonly ArrayBuffer[] = []): number {
    if (this.#failure !== undefined) throw this.#failure;
    const id = ++this.#lastId;
    const worker = this.#startWorker();
    worker.postMessage({ type: 'request', id, request } satisfies CallerMessage, transfer);
    this.#pending.set(id, pending);
    return id;
  }

  /** Sends a message that has no answer. */
  tell(message: CallerMessage): void {
    this.#worker?.postMessage(message);
  }

  readonly #onExit = (): void => waitUntilOutside(this.#guard);

  #startWorker(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const start: WorkerStart = { options: this.#options, guard: this.#guard };
    const worker = new Worker(workerFile(), { workerData: start, execArgv: workerArguments(), name: `querent ${this.#key}` });
    worker.on('message', (message: WorkerMessage) => this.#receive(message));
    worker.on('error', (cause) => this.#fail('an error that nobody caught', cause));
    worker.on('exit', (code) => this.#fail(`exit code ${code}`));
    process.on('exit', this.#onExit);
    // After the listeners: each of them would make it keep the process alive again.
    if (this.#holds === 0) worker.unref();
    this.#worker = worker;
    return worker;
  }

  #receive(message: WorkerMessage): void {
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return;
    if (message.type === 'event') return pending.event?.(message.event);
    this.#pending.delete(message.id);
    if (message.type === 'done') pending.done(message.value);
    else pending.failed(unpackError(message.error));
  }

  /** The worker is gone: everything under way fails, and what comes too. */
  #fail(how: string, cause?: unknown): void {
    this.#failure ??= new QuerentError('QRT_ENGINE_RUN', `The worker thread of ${this.#key} ended with ${how}.`, {
      fix: 'Dispose the engine and make a new one. A program that throws outside its loop ends the worker.',
      cause,
    });
    if (devices.get(this.#key) === this) devices.delete(this.#key);
    process.off('exit', this.#onExit);
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const each of pending) each.failed(this.#failure);
  }
}

/** The device of these options: the one that is there, or a new one. Call `release` when done with it. */
export function openDevice(options: OnnxEngineOptions): Device {
  const key = [options.backend ?? 'cpu', options.threads ?? 'all', options.prepackBytes ?? 0].join(':');
  const known = devices.get(key);
  if (known !== undefined) return known.use();
  const device = new Device(key, options);
  devices.set(key, device);
  return device.use();
}

/** Flags by which a process says how modules are found: a program may need the same in the worker. */
const LOADER_FLAG = /^(--import|--require|-r|--loader|--experimental-loader|--conditions|-C)(=|$)/;

/**
 * This process's loader flags. All others stay here: a worker refuses some (V8's), others make it take its program from the command line.
 * So does the condition under which tests read our packages as TypeScript.
 */
function workerArguments(flags: readonly string[] = process.execArgv): string[] {
  return flags.flatMap((flag, i) => {
    if (!LOADER_FLAG.test(flag)) return [];
    const value = flag.includes('=') ? flag.slice(flag.indexOf('=') + 1) : flags[i + 1];
    const name = flag.split('=')[0] ?? flag;
    return value === undefined || value === 'querent-source' ? [] : [name, value];
  });
}

/** Worker threads are plain Node: the built file, also when this one runs from its TypeScript source. */
function workerFile(): URL {
  const isSource = import.meta.url.endsWith('.ts');
  const url = new URL(isSource ? '../dist/worker.js' : './worker.js', import.meta.url);
  if (existsSync(url)) return url;
  throw new QuerentError('QRT_USAGE', `The engine's worker ${fileURLToPath(url)} does not exist.`, {
    fix: isSource ? 'Running from sources, build first (`tsc -b packages/engine-onnx`), or use the engine in place.' : 'Is @querent/engine-onnx installed completely?',
  });
}
