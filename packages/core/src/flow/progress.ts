/**
 * Progress as part of the stream: between the items come events that say how many are done, how fast, and how long it will
 * take. The meter stands alone as well, for loops that are no flow (training).
 */
import { stage } from './flow.ts';
import type { Stage } from './flow.ts';
import { DONE } from './pull.ts';

/** Where a run stands. */
export interface Progress {
  readonly done: number;
  /** How many of the done ones failed. */
  readonly failed: number;
  /** Undefined where the source does not say. */
  readonly total: number | undefined;
  /** Items a second, over about the last ten seconds; 0 before the first item. */
  readonly rate: number;
  readonly elapsedMs: number;
  /** Time left; undefined while it cannot be told. */
  readonly etaMs: number | undefined;
}

export interface ProgressOptions {
  readonly total?: number;
  /** A clock in milliseconds. Default `performance.now`. */
  readonly now?: () => number;
}

/** Counts and measures. */
export interface ProgressMeter {
  /** `count` more are done, of which `failed` failed. */
  add(count?: number, failed?: number): void;
  read(): Progress;
}

/** How fast old speed is forgotten, in milliseconds. */
const MEMORY_MS = 10_000;

/** Starts to measure now. */
export function createMeter(options: ProgressOptions = {}): ProgressMeter {
  const now = options.now ?? (() => performance.now());
  const start = now();
  let done = 0;
  let failed = 0;
  let last = start;
  // Sums of items and of time, both fading alike: their quotient is exact while the speed is constant.
  let items = 0;
  let time = 0;
  return {
    add(count = 1, failures = 0) {
      const at = now();
      const fade = Math.exp(-(at - last) / MEMORY_MS);
      items = items * fade + count;
      time = time * fade + (at - last);
      last = at;
      done += count;
      failed += failures;
    },
    read() {
      const at = now();
      const idle = at - last; // a stall slows the rate down before the next item comes
      const fade = Math.exp(-idle / MEMORY_MS);
      const span = time * fade + idle;
      const rate = done === 0 || span <= 0 ? 0 : ((items * fade) / span) * 1000;
      const left = options.total === undefined ? undefined : Math.max(0, options.total - done);
      const etaMs = left === undefined ? undefined : left === 0 ? 0 : rate > 0 ? (left / rate) * 1000 : undefined;
      return { done, failed, total: options.total, rate, elapsedMs: at - start, etaMs };
    },
  };
}

/** An item of the stream, or where it stands. */
export type ProgressEvent<T> =
  | { readonly type: 'item'; readonly item: T }
  | ({ readonly type: 'progress' } & Progress);

export interface WithProgressOptions extends ProgressOptions {
  /** At most one progress event in this time; one always comes at the end. Default 200. */
  readonly everyMs?: number;
}

/**
 * Puts progress events between the items: after an item, when the last one is `everyMs` old, and at the end. A failed result
 * ({@link Result}) counts as failed.
 */
export function withProgress<T>(options: WithProgressOptions = {}): Stage<T, ProgressEvent<T>> {
  const now = options.now ?? (() => performance.now());
  const everyMs = options.everyMs ?? 200;
  return stage<T, ProgressEvent<T>>((upstream) => {
    const meter = createMeter({ ...options, now });
    let told = now();
    let isDue = false;
    let ended = false;
    return {
      async next() {
        if (!isDue && !ended) {
          const step = await upstream.next();
          if (step.done !== true) {
            meter.add(1, hasError(step.value) ? 1 : 0);
            isDue = now() - told >= everyMs;
            return { done: false, value: { type: 'item', item: step.value } };
          }
          ended = true;
          isDue = true;
        }
        if (!isDue) return DONE;
        isDue = false;
        told = now();
        return { done: false, value: { type: 'progress', ...meter.read() } };
      },
      return: () => upstream.return(),
    };
  });
}

function hasError(item: unknown): boolean {
  return typeof item === 'object' && item !== null && 'item' in item && 'error' in item && item.error !== undefined;
}
