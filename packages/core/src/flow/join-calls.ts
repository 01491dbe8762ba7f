/**
 * Joins concurrent callers into batches: whoever calls while nothing is under way waits only until the calls of the same turn of the event
 * loop are in; whoever calls while a batch is worked on goes into the next one. A lone caller waits for nobody, and a busy device gets
 * full batches without a timer.
 *
 *     calls        a       b c d e          f
 *     batches     [a]----->[b c d e]------->[f]
 */
import { raceSignal } from './cancel.ts';

export interface JoinCallsOptions {
  /** Calls in one batch, at least 1. */
  readonly size: number;
  /** Batches under way at a time, at least 1. Default 1: what comes meanwhile gathers. */
  readonly concurrency?: number;
}

/** One caller of a batch. */
export interface JoinedCall<In, Out> {
  readonly input: In;
  /** Only the first answer counts. */
  resolve(output: Out): void;
  reject(error: unknown): void;
}

/** Calls that may be joined with others. */
export interface JoinedCalls<In, Out> {
  /** @throws what the batch says of this call; the signal's own reason as soon as it aborts. */
  call(input: In, options?: { readonly signal?: AbortSignal }): Promise<Out>;
  /** Calls that wait for a batch. */
  readonly waiting: number;
}

interface Waiting<In, Out> extends JoinedCall<In, Out> {
  isLeft: boolean;
}

/**
 * @param run answers every call of a batch, or throws for all that it has not answered. Its signal aborts when nobody of the batch waits
 *   any longer.
 */
export function joinCalls<In, Out>(
  run: (calls: readonly JoinedCall<In, Out>[], context: { readonly signal: AbortSignal }) => Promise<void>,
  { size, concurrency = 1 }: JoinCallsOptions,
): JoinedCalls<In, Out> {
  if (!(size >= 1 && concurrency >= 1)) throw new RangeError(`batches of ${size}, ${concurrency} at a time: expected at least 1`);
  const queue: Waiting<In, Out>[] = [];
  let active = 0;
  let isScheduled = false;

  const schedule = (): void => {
    if (isScheduled || queue.length === 0 || active >= concurrency) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      while (active < concurrency && queue.length > 0) start(queue.splice(0, size));
    });
  };
  const leaving = new Map<Waiting<In, Out>, () => void>();
  const start = (calls: readonly Waiting<In, Out>[]): void => {
    active++;
    const nobody = new AbortController();
    let left = 0;
    for (const call of calls) {
      leaving.set(call, () => {
        if (++left === calls.length) nobody.abort(new DOMException('Nobody waits for this batch any longer.', 'AbortError'));
      });
    }
    const finish = (error: unknown): void => {
      active--;
      for (const call of calls) {
        leaving.delete(call);
        call.reject(error); // those that were answered do not notice
      }
      schedule();
    };
    Promise.resolve()
      .then(() => run(calls, { signal: nobody.signal }))
      .then(() => finish(new Error('A batch ended without an answer for this call.')), finish);
  };

  return {
    get waiting() {
      return queue.length;
    },
    call(input, { signal } = {}) {
      if (signal?.aborted === true) return Promise.reject(signal.reason);
      let call: Waiting<In, Out> | undefined;
      const answer = new Promise<Out>((resolve, reject) => {
        call = { input, resolve, reject, isLeft: false };
        queue.push(call);
      });
      schedule();
      if (signal === undefined) return answer;
      return raceSignal(answer, signal).catch((error: unknown) => {
        if (signal.aborted && call !== undefined && !call.isLeft) {
          call.isLeft = true;
          const at = queue.indexOf(call);
          if (at >= 0) queue.splice(at, 1);
          leaving.get(call)?.();
        }
        throw error;
      });
    },
  };
}
