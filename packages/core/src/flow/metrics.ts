/**
 * What each stage of a run is doing: items taken and handed on, errors, how many are in it, how long they stay, how long it waits for the
 * stage before it and for the one after. A stage is measured from the outside, so any stage can be.
 *
 *     const metrics = createMetrics();
 *     from(photos).pipe(metrics.measure('decode', decode()), metrics.measure('encode', encode(model)))
 *     metrics.read()   [{ name: 'decode', done: 40, depth: 4, … }, { name: 'encode', … }]
 *
 * The stage with little `waitingMs` and little `unreadMs` is the one that the run waits for.
 */
import { from, stage } from './flow.ts';
import type { Stage } from './flow.ts';
import { DONE } from './pull.ts';

/** A stage's figures so far, over all its runs. Times in milliseconds. */
export interface StageMetrics {
  readonly name: string;
  /** Items taken from the stage before. */
  readonly taken: number;
  /** Items handed on, failed ones included. */
  readonly done: number;
  /** Of the done ones, those that failed in this stage. */
  readonly failed: number;
  /** Items in the stage now: worked on, waiting for a batch to fill, or finished and not yet asked for. For a stage that gives an item for each. */
  readonly depth: number;
  /** The most there were. */
  readonly maxDepth: number;
  /** Time that items have spent in the stage, all together; divided by `done` it is the mean of an item. */
  readonly inStageMs: number;
  /** Time in which the stage wanted an item and the one before it had none. */
  readonly waitingMs: number;
  /** Time in which the stage held items and nobody asked for one. */
  readonly unreadMs: number;
}

export interface Metrics {
  /** The stage, measured under this name. Each run of it adds to the same figures. */
  measure<In, Out>(name: string, stage: Stage<In, Out>): Stage<In, Out>;
  /** In the order in which they were measured first. */
  read(): readonly StageMetrics[];
}

export interface MetricsOptions {
  /** A clock in milliseconds. Default `performance.now`. */
  readonly now?: () => number;
}

/** Sums over time of what is true, or of how many there are. */
class Gauge {
  readonly #now: () => number;
  #value = 0;
  #sum = 0;
  #since: number;

  constructor(now: () => number) {
    this.#now = now;
    this.#since = now();
  }

  get value(): number {
    return this.#value;
  }

  set(value: number): void {
    const at = this.#now();
    this.#sum += this.#value * (at - this.#since);
    this.#since = at;
    this.#value = value;
  }

  /** value × milliseconds, until now. */
  get sum(): number {
    return this.#sum + this.#value * (this.#now() - this.#since);
  }
}

class StageMeter {
  readonly name: string;
  taken = 0;
  done = 0;
  failed = 0;
  maxDepth = 0;
  readonly depth: Gauge;
  readonly waiting: Gauge;
  readonly unread: Gauge;
  /** Errors that items brought along. */
  readonly foreign: WeakSet<object> = new WeakSet();

  constructor(name: string, now: () => number) {
    this.name = name;
    this.depth = new Gauge(now);
    this.waiting = new Gauge(now);
    this.unread = new Gauge(now);
  }

  read(): StageMetrics {
    const { name, taken, done, failed, maxDepth } = this;
    return { name, taken, done, failed, depth: this.depth.value, maxDepth, inStageMs: this.depth.sum, waitingMs: this.waiting.sum, unreadMs: this.unread.sum };
  }
}

/** Begins to measure. */
export function createMetrics(options: MetricsOptions = {}): Metrics {
  const now = options.now ?? (() => performance.now());
  const meters = new Map<string, StageMeter>();
  return {
    measure(name, inner) {
      const meter = meters.get(name) ?? new StageMeter(name, now);
      meters.set(name, meter);
      return measured(inner, meter);
    },
    read: () => [...meters.values()].map((meter) => meter.read()),
  };
}

function measured<In, Out>(inner: Stage<In, Out>, meter: StageMeter): Stage<In, Out> {
  return stage<In, Out>((upstream) => {
    let inside = 0; // of this run
    let isAsked = false;
    let isUnread = false;
    const look = (): void => {
      const now = inside > 0 && !isAsked;
      if (now !== isUnread) meter.unread.set(meter.unread.value + (now ? 1 : -1));
      isUnread = now;
    };
    const change = (by: number): void => {
      inside += by;
      meter.depth.set(meter.depth.value + by);
      meter.maxDepth = Math.max(meter.maxDepth, meter.depth.value);
      look();
    };
    const ask = (value: boolean): void => {
      isAsked = value;
      look();
    };
    const source = {
      [Symbol.asyncIterator]: () => ({
        async next(): Promise<IteratorResult<In, undefined>> {
          meter.waiting.set(meter.waiting.value + 1);
          try {
            const step = await upstream.next();
            if (step.done === true) return DONE;
            meter.taken++;
            const error = errorOf(step.value);
            if (error !== undefined) meter.foreign.add(error);
            change(1);
            return step;
          } finally {
            meter.waiting.set(meter.waiting.value - 1);
          }
        },
        async return(): Promise<IteratorResult<In, undefined>> {
          await upstream.return();
          return DONE;
        },
      }),
    };
    const run = inner(from(source))[Symbol.asyncIterator]();
    const end = (): void => {
      change(-inside);
      ask(false);
    };
    return {
      async next() {
        ask(true);
        try {
          const step = await run.next();
          if (step.done === true) {
            end();
            return DONE;
          }
          meter.done++;
          const error = errorOf(step.value);
          if (error !== undefined && !meter.foreign.has(error)) meter.failed++;
          change(-Math.min(1, inside));
          return { done: false, value: step.value };
        } catch (error) {
          end();
          throw error;
        } finally {
          ask(false);
        }
      },
      async return() {
        await run.return?.();
        await upstream.return();
        end();
      },
    };
  });
}

function errorOf(item: unknown): object | undefined {
  if (typeof item !== 'object' || item === null || !('error' in item)) return undefined;
  return typeof item.error === 'object' && item.error !== null ? item.error : undefined;
}
