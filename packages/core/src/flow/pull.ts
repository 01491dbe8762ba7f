/**
 * The pulling side of a flow: `next` asks for one item, `return` stops. It is an async iterator with two promises more:
 * `return` may be called while `next` is pending and comes back soon, and nothing is taken that was not asked for.
 */
import type { Observable, Subscription } from 'rxjs';
import { QuerentError } from '../errors.ts';

export interface Pull<T> {
  /** One item, or done. Never called again before it has settled. */
  next(): Promise<IteratorResult<T, undefined>>;
  /** Stops: what is open is closed. May be called at any time, and twice. */
  return(): Promise<void>;
}

export const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** How many items a pushing Observable may be ahead when nothing else is said. */
export const FLOW_BUFFER = 1024;

/** Pulls from anything iterable. `return` waits for the source's own clean-up, unless the source is busy with an item. */
export function pullIterable<T>(source: Iterable<T> | AsyncIterable<T>): Pull<T> {
  let iterator: Iterator<T> | AsyncIterator<T> | undefined;
  let busy = false;
  let ended = false;
  return {
    async next() {
      if (ended) return DONE;
      iterator ??= Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
      busy = true;
      try {
        const step = await iterator.next();
        if (step.done !== true) return { done: false, value: await step.value };
        ended = true;
        return DONE;
      } catch (error) {
        ended = true;
        throw error;
      } finally {
        busy = false;
      }
    },
    async return() {
      if (ended) return;
      ended = true;
      if (iterator?.return === undefined) return;
      const closed = Promise.resolve(iterator.return()).then(() => undefined);
      // A generator that awaits something finishes that first; nobody should have to wait for it.
      if (busy) closed.catch(() => undefined);
      else await closed;
    },
  };
}

/**
 * Pulls from a pushing Observable: subscribes at the first `next`, keeps what is ahead.
 *
 * @throws QuerentError QRT_FLOW_OVERFLOW, at the item after the kept ones, when more than `bound` are ahead.
 */
export function pullObservable<T>(source: Observable<T>, bound: number): Pull<T> {
  const buffer: T[] = [];
  let subscription: Subscription | undefined;
  let end: { readonly error?: unknown; readonly failed: boolean } | undefined;
  let wake: (() => void) | undefined;
  const finish = (how: { readonly error?: unknown; readonly failed: boolean }): void => {
    end ??= how;
    wake?.();
  };
  const start = (): void => {
    subscription = source.subscribe({
      next: (item) => {
        if (end !== undefined) return;
        if (buffer.length < bound) {
          buffer.push(item);
          wake?.();
          return;
        }
        finish({
          failed: true,
          error: new QuerentError('QRT_FLOW_OVERFLOW', `An Observable pushed more than ${bound} items ahead of the stage that reads it.`, {
            fix: 'Start the flow from an iterable with from(), which is only read when there is room, or raise from(observable, { buffer }).',
            details: { bound },
          }),
        });
        subscription?.unsubscribe();
      },
      error: (error: unknown) => finish({ failed: true, error }),
      complete: () => finish({ failed: false }),
    });
    // A source that pushed everything while subscribing has overflowed before there was a subscription to end.
    if (end !== undefined) subscription.unsubscribe();
  };
  return {
    async next() {
      if (subscription === undefined && end === undefined) start();
      while (buffer.length === 0 && end === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        wake = undefined;
      }
      if (buffer.length > 0) return { done: false, value: buffer.shift() as T }; // length was checked; T may hold undefined
      if (end?.failed === true) throw end.error;
      return DONE;
    },
    return() {
      buffer.length = 0;
      end = { failed: false };
      subscription?.unsubscribe();
      wake?.();
      return Promise.resolve();
    },
  };
}
