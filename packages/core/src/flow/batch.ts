/**
 * Groups items, and takes groups apart again. The next group is gathered while the last one is worked on: at most one waits.
 *
 *     source          a b c  d    (nothing for maxWaitMs)   e f |
 *     batch(3)        [a b c]                          [d]  [e f] |
 *     flatten()       a b c                            d    e f |
 */
import { stage } from './flow.ts';
import type { Stage } from './flow.ts';
import { DONE } from './pull.ts';
import type { Pull } from './pull.ts';

export interface BatchOptions {
  /** Hand on a smaller group when its first item is this old and somebody waits. Default: wait until it is full. */
  readonly maxWaitMs?: number;
}

/** Groups of `size` items; the last one may be smaller. An error of the source comes after the items before it. */
export function batch<T>(size: number, options: BatchOptions = {}): Stage<T, T[]> {
  if (!(size >= 1)) throw new RangeError(`a batch of ${size} items: expected at least 1`);
  return stage((upstream) => pullBatches(upstream, size, options.maxWaitMs));
}

function pullBatches<T>(upstream: Pull<T>, size: number, maxWaitMs: number | undefined): Pull<T[]> {
  let current: T[] = [];
  let gathering = false;
  let ended = false;
  let failed: { readonly thrown: unknown } | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isOld = false;
  let wake: (() => void) | undefined;

  const gather = async (): Promise<void> => {
    if (gathering || ended || current.length >= size) return;
    gathering = true;
    try {
      while (!ended && current.length < size) {
        const step = await upstream.next();
        if (ended) break;
        if (step.done === true) {
          ended = true;
          break;
        }
        current.push(step.value);
        if (current.length === 1 && maxWaitMs !== undefined) {
          timer = setTimeout(() => {
            isOld = true;
            wake?.();
          }, maxWaitMs);
        }
      }
    } catch (thrown) {
      ended = true;
      failed = { thrown };
    } finally {
      gathering = false;
      wake?.();
    }
  };
  const hand = (): T[] => {
    clearTimeout(timer);
    isOld = false;
    const full = current;
    current = [];
    return full;
  };

  return {
    async next() {
      for (;;) {
        if (current.length >= size || (current.length > 0 && (ended || isOld))) {
          const value = hand();
          void gather();
          return { done: false, value };
        }
        if (ended && !gathering) {
          if (failed !== undefined) throw failed.thrown;
          return DONE;
        }
        const woken = new Promise<void>((resolve) => {
          wake = resolve;
        });
        void gather();
        await woken;
      }
    },
    async return() {
      ended = true;
      hand();
      wake?.();
      await upstream.return();
    },
  };
}

/** Hands on the items of each list, one by one. */
export function flatten<T>(): Stage<readonly T[], T> {
  return stage((upstream) => {
    let list: readonly T[] = [];
    let at = 0;
    return {
      async next() {
        while (at >= list.length) {
          const step = await upstream.next();
          if (step.done === true) return DONE;
          list = step.value;
          at = 0;
        }
        return { done: false, value: list[at++] as T }; // at < length; T may hold undefined
      },
      return() {
        list = [];
        return upstream.return();
      },
    };
  });
}
