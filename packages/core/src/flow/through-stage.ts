/**
 * Takes some items of a flow through a stage and lets the others pass, in order: what failed before, or what has nothing to do there.
 *
 *     source         a      b (failed)   c
 *     enter          1      pass         3
 *     stage          A                   C
 *     leave          {a,A}  b            {c,C}
 */
import { from, stage } from './flow.ts';
import type { Stage } from './flow.ts';
import { DONE } from './pull.ts';

/** What to do with an item: put a value through the stage, or hand this on as it is. */
export type Entry<Inner, Out> = { readonly input: Inner } | { readonly pass: Out };

export interface ThroughStageOptions<In, Inner, InnerOut, Out> {
  readonly enter: (item: In) => Entry<Inner, Out>;
  readonly leave: (item: In, output: InnerOut) => Out;
}

/** Passing items kept while nobody asks; more are not taken from the source then. */
const PASSING = 64;

type Waiting<In, Out> = { readonly item: In } | { readonly pass: Out };

/** @param inner gives one output an input, in order. */
export function throughStage<In, Inner, InnerOut, Out>(inner: Stage<Inner, InnerOut>, { enter, leave }: ThroughStageOptions<In, Inner, InnerOut, Out>): Stage<In, Out> {
  return stage((upstream) => {
    const order: Waiting<In, Out>[] = []; // of what was taken and not handed on
    let ended = false;
    let wakeReader: (() => void) | undefined;
    let wakeTaker: (() => void) | undefined;
    const isPassingFirst = (): boolean => order[0] !== undefined && 'pass' in order[0];

    const take = async (): Promise<IteratorResult<Inner, undefined>> => {
      while (!ended) {
        if (order.length >= PASSING && isPassingFirst()) {
          await new Promise<void>((resolve) => (wakeTaker = resolve));
          continue;
        }
        const step = await upstream.next();
        if (step.done === true) return DONE;
        const entry = enter(step.value);
        if ('input' in entry) {
          order.push({ item: step.value });
          return { done: false, value: entry.input };
        }
        order.push({ pass: entry.pass });
        wakeReader?.();
      }
      return DONE;
    };
    const source = {
      [Symbol.asyncIterator]: () => ({
        next: take,
        async return(): Promise<IteratorResult<Inner, undefined>> {
          await upstream.return();
          return DONE;
        },
      }),
    };
    const run = inner(from(source))[Symbol.asyncIterator]();
    let pending: Promise<IteratorResult<InnerOut, undefined>> | undefined;
    let isOver = false;
    return {
      async next() {
        for (;;) {
          const first = order[0];
          if (first !== undefined && 'pass' in first) {
            order.shift();
            wakeTaker?.();
            return { done: false, value: first.pass };
          }
          if (isOver || ended) return DONE;
          const woken = new Promise<undefined>((resolve) => (wakeReader = () => resolve(undefined)));
          pending ??= run.next();
          const step = await Promise.race([pending, woken]);
          if (step === undefined) continue;
          pending = undefined;
          if (step.done === true) {
            isOver = true;
            continue;
          }
          const done = order.shift();
          wakeTaker?.();
          if (done === undefined || 'pass' in done) throw new RangeError('A stage gave more outputs than it was given inputs.');
          return { done: false, value: leave(done.item, step.value) };
        }
      },
      async return() {
        ended = true;
        order.length = 0;
        wakeTaker?.();
        wakeReader?.();
        pending?.catch(() => undefined);
        await run.return?.();
        await upstream.return();
      },
    };
  });
}
