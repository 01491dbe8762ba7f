/**
 * The worker's side of host.ts: an in-place engine that answers messages. All weights, sessions and caches of a device live here.
 */
import { getPriority, setPriority } from 'node:os';
import { setImmediate as immediate } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import type { TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import { BufferPool, POOL_BYTES } from './buffers.ts';
import { createOnnxEngine } from './engine.ts';
import { insideGuard } from './exit-guard.ts';
import { builtProgramUrl } from './program.ts';
import type { CallerMessage, CompileReply, Request, RunReply, WorkerMessage, WorkerStart } from './protocol.ts';
import { packError } from './protocol.ts';
import type { OnnxExecutable } from './session.ts';

/**
 * How much less urgent than the caller's thread this one is: as much as there is. With 5 and with 10 the caller's event loop waited 25 to 37 ms for a core at
 * the longest, with 19 mostly 16 to 20 (a thousand photographs on two cores), and as many photographs were captioned.
 */
const POLITENESS = 19;

/**
 * Lets the caller's thread go first when all cores are busy: its event loop waits for a core, not for a batch. Linux alone has
 * a priority for each thread, which onnxruntime's threads inherit from the one that makes them; elsewhere it is the process's.
 */
function stepBack(): void {
  if (process.platform !== 'linux') return;
  try {
    setPriority(Math.min(19, getPriority() + POLITENESS));
  } catch {
    // A sandbox may forbid it, and everything works without.
  }
}

stepBack();
if (parentPort === null) throw new QuerentError('QRT_USAGE', 'worker.js is started by createOnnxHost, not on its own.');
const port = parentPort;
const start = workerData as WorkerStart; // host.ts is the only caller
const engine = createOnnxEngine(start.options, (work) => insideGuard(start.guard, work));

const executables = new Map<number, OnnxExecutable>();
const pool = new BufferPool(POOL_BYTES);
let lastExecutable = 0;

/** What is under way: its signal, and for programs the credit. */
interface Activity {
  readonly controller: AbortController;
  credit: number;
  wake: (() => void) | undefined;
}
const activities = new Map<number, Activity>();

port.on('message', (message: CallerMessage) => {
  if (message.type === 'request') return void answer(message.id, message.request);
  const activity = activities.get(message.id);
  if (activity === undefined) return; // it has just ended
  if (message.type === 'credit') activity.credit += message.events;
  else activity.controller.abort();
  activity.wake?.();
});

async function answer(id: number, request: Request): Promise<void> {
  const activity: Activity = { controller: new AbortController(), credit: 0, wake: undefined };
  activities.set(id, activity);
  try {
    const [value, transfer] = await perform(id, request, activity);
    post({ type: 'done', id, value }, transfer);
  } catch (error) {
    post({ type: 'failed', id, error: packError(error) });
  } finally {
    activities.delete(id);
  }
}

async function perform(id: number, request: Request, activity: Activity): Promise<readonly [unknown, readonly ArrayBuffer[]]> {
  const { signal } = activity.controller;
  switch (request.type) {
    case 'compile': {
      const executable = await engine.open(request.plan);
      executables.set(++lastExecutable, executable);
      const reply: CompileReply = { executable: lastExecutable, inputs: executable.inputs };
      return [reply, []];
    }
    case 'run': {
      // Messages that came with this one are read first: one of them may cancel it.
      await immediate();
      signal.throwIfAborted();
      // onnxruntime-node takes no shared memory.
      const feeds = Object.fromEntries(Object.entries(request.feeds).map(([name, feed]) => [name, pool.copy(feed)]));
      const outputs = await find(request.executable).run(feeds, { outputs: request.outputs, signal });
      for (const { data } of Object.values(feeds)) pool.give(data.buffer);
      const reply: RunReply = { outputs };
      return [reply, buffersOf(outputs)];
    }
    case 'dispose': {
      const executable = find(request.executable);
      executables.delete(request.executable);
      await executable[Symbol.asyncDispose]();
      return [undefined, []];
    }
    case 'program':
      await stream(id, request, activity);
      return [undefined, []];
  }
}

/** Pulls one event at a time, and none that the caller has no room for. */
async function stream(id: number, request: Request & { readonly type: 'program' }, activity: Activity): Promise<void> {
  const { signal } = activity.controller;
  activity.credit += request.window;
  const named = Object.fromEntries(Object.entries(request.executables).map(([name, executable]) => [name, find(executable)]));
  const events = engine.program(builtProgramUrl(request.moduleUrl), request.exportName, request.args, { signal, executables: named });
  for await (const event of events) {
    while (activity.credit === 0 && !signal.aborted) {
      await new Promise<void>((resolve) => {
        activity.wake = resolve;
      });
      activity.wake = undefined;
    }
    signal.throwIfAborted();
    activity.credit--;
    postEvent(id, event);
  }
}

function postEvent(id: number, event: unknown): void {
  try {
    post({ type: 'event', id, event });
  } catch (cause) {
    throw new QuerentError('QRT_USAGE', `A program's event cannot cross threads: ${cause instanceof Error ? cause.message : String(cause)}`, {
      fix: 'Yield plain data (numbers, strings, arrays, typed arrays), no functions or class instances.',
      cause,
    });
  }
}

function find(id: number): OnnxExecutable {
  const executable = executables.get(id);
  if (executable === undefined) throw new QuerentError('QRT_ENGINE_RUN', `The worker has no executable ${id}: it was disposed.`);
  return executable;
}

function buffersOf(tensors: Readonly<Record<string, TensorData>>): ArrayBuffer[] {
  // Outputs are onnxruntime's own: none is shared.
  return [...new Set(Object.values(tensors).map(({ data }) => data.buffer as ArrayBuffer))];
}

function post(message: WorkerMessage, transfer: readonly ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}
