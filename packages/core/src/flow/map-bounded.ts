/**
 * The pulling operator: at most `concurrency` items in flight, the next one taken when a slot frees. A slot is held from
 * the moment an item is taken until its result has been handed on, so nothing piles up behind a slow reader.
 *
 *     source       a b c d e              with concurrency 2, ordered: `a` is slow
 *     in flight    ab   bc   cd   de
 *     result       ....a b  c    d   e    b waits for a; c is taken when a has gone out
 */
import { stage } from './flow.ts';
import type { Stage } from './flow.ts';
import { DONE } from './pull.ts';
import type { Pull } from './pull.ts';
import { failure, success } from './result.ts';
import type { Result } from './result.ts';

export interface MapBoundedOptions {
  /** Items in flight, at least 1. Default 1. */
  readonly concurrency?: number;
  /** Results come in the order of the items. Default true; false hands on what is ready first. */
  readonly ordered?: boolean;
}

/** What a mapped function is given beside its item. */
export interface MapContext {
  /** Aborted when the run is left, ended from outside or failed. */
  readonly signal: AbortSignal;
}

type Mapper<In, Out> = (item: In, context: MapContext) => Out | PromiseLike<Out>;

/**
 * Maps with bounded concurrency.
 *
 * `onError: 'throw'` (the default) ends the flow at the first item that fails, after the results before it. `onError: 'item'`
 * gives a {@link Result} for every item: a failed one is `{ item, error }` and the others go on. A cancelled run always ends.
 */
export function mapBounded<In, Out>(
  map: Mapper<In, Out>,
  options: MapBoundedOptions & { readonly onError: 'item' },
): Stage<In, Result<In, Out>>;
export function mapBounded<In, Out>(map: Mapper<In, Out>, options?: MapBoundedOptions & { readonly onError?: 'throw' }): Stage<In, Out>;
export function mapBounded<In, Out>(
  map: Mapper<In, Out>,
  options: MapBoundedOptions & { readonly onError?: 'item' | 'throw' } = {},
): Stage<In, Out | Result<In, Out>> {
  if (options.onError !== 'item') return mapStage(map, options);
  const guarded: Mapper<In, Result<In, Out>> = async (item, context) => {
    try {
      return success(item, await map(item, context));
    } catch (error) {
      context.signal.throwIfAborted();
      return failure(item, error);
    }
  };
  return mapStage(guarded, options);
}

type Outcome<Out> = { readonly value: Out } | { readonly thrown: unknown };

/** The stage under all bounded maps: a failing `map` ends the flow. @throws RangeError for a concurrency below 1. */
export function mapStage<In, Out>(map: Mapper<In, Out>, { concurrency = 1, ordered = true }: MapBoundedOptions): Stage<In, Out> {
  if (!(concurrency >= 1)) throw new RangeError(`concurrency is ${concurrency}: expected at least 1`);
  return stage((upstream, signal) => pullMapped(upstream, map, concurrency, ordered, signal));
}

function pullMapped<In, Out>(upstream: Pull<In>, map: Mapper<In, Out>, concurrency: number, ordered: boolean, signal: AbortSignal): Pull<Out> {
  const inFlight: { outcome?: Outcome<Out> }[] = []; // in the order taken
  let taking = false;
  let ended = false; // nothing more is taken
  let upstreamError: { readonly thrown: unknown } | undefined;
  let wake: (() => void) | undefined;

  const run = async (slot: { outcome?: Outcome<Out> }, item: In): Promise<void> => {
    try {
      slot.outcome = { value: await map(item, { signal }) };
    } catch (thrown) {
      slot.outcome = { thrown };
    }
    wake?.();
  };
  const fill = async (): Promise<void> => {
    if (taking || ended || inFlight.length >= concurrency) return; // nothing to do, and nobody is woken for it
    taking = true;
    try {
      while (!ended && inFlight.length < concurrency) {
        const step = await upstream.next();
        if (ended) break;
        if (step.done === true) {
          ended = true;
          break;
        }
        const slot = {};
        inFlight.push(slot);
        void run(slot, step.value);
      }
    } catch (thrown) {
      ended = true;
      upstreamError = { thrown };
    } finally {
      taking = false;
      wake?.();
    }
  };

  return {
    async next() {
      for (;;) {
        const ready = ordered ? (inFlight[0]?.outcome === undefined ? -1 : 0) : inFlight.findIndex((slot) => slot.outcome !== undefined);
        if (ready >= 0) {
          const { outcome } = inFlight.splice(ready, 1)[0] as { outcome: Outcome<Out> }; // its outcome was looked at above
          if ('thrown' in outcome) throw outcome.thrown;
          void fill(); // the freed slot is used while this result is read
          return { done: false, value: outcome.value };
        }
        if (inFlight.length === 0 && ended && !taking) {
          if (upstreamError !== undefined) throw upstreamError.thrown;
          return DONE;
        }
        const woken = new Promise<void>((resolve) => {
          wake = resolve;
        });
        void fill();
        await woken;
      }
    },
    async return() {
      ended = true;
      inFlight.length = 0;
      wake?.();
      await upstream.return();
    },
  };
}
