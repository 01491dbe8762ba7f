import { Observable, Subject, firstValueFrom, interval, map as rxMap, of, range, take, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { abortOn, flow, from, mapBounded, untilAborted } from '../index.ts';

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of source) all.push(item);
  return all;
}

/** Counts what is taken of it, and whether it was closed. */
function counted(length: number): { source: () => AsyncGenerator<number>; seen: { pulled: number; closed: number; opened: number } } {
  const seen = { pulled: 0, closed: 0, opened: 0 };
  return {
    seen,
    source: async function* () {
      seen.opened++;
      try {
        for (let i = 0; i < length; i++) {
          seen.pulled++;
          yield i;
        }
      } finally {
        seen.closed++;
      }
    },
  };
}

describe('from', () => {
  it('reads arrays, generators, async generators and Observables alike', async () => {
    async function* slow(): AsyncGenerator<number> {
      yield 1;
      yield 2;
    }
    expect(await collect(from([1, 2]))).toEqual([1, 2]);
    expect(await collect(from(new Set([1, 2])))).toEqual([1, 2]);
    expect(await collect(from(slow()))).toEqual([1, 2]);
    expect(await collect(from(of(1, 2)))).toEqual([1, 2]);
    expect(await collect(from([Promise.resolve(1), 2]))).toEqual([1, 2]);
    expect(await collect(from([]))).toEqual([]);
    expect(await collect(from([undefined]))).toEqual([undefined]);
  });

  it('is an Observable that rxjs operators and subscribe understand', async () => {
    const doubled = from([1, 2, 3]).pipe(
      rxMap((x) => x * 2),
      toArray(),
    );
    expect(await firstValueFrom(doubled)).toEqual([2, 4, 6]);
    const seen: unknown[] = [];
    await new Promise<void>((resolve) => from([1, 2]).subscribe({ next: (x) => seen.push(x), complete: resolve }));
    expect(seen).toEqual([1, 2]);
  });

  it('refuses a string and what is not iterable with a code', () => {
    expect(() => from('photo.jpg')).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
    expect(() => from(3 as unknown as number[])).toThrow(/not a list of items/);
  });

  it('is cold: nothing is read before someone reads, and two readers are two runs', async () => {
    let runs = 0;
    const source = {
      async *[Symbol.asyncIterator]() {
        runs++;
        yield* [1, 2, 3];
      },
    };
    const numbers = from(source).pipe(mapBounded(async (x) => x + 1));
    expect(runs).toBe(0);
    const [a, b] = await Promise.all([collect(numbers), firstValueFrom(numbers.pipe(toArray()))]);
    expect(a).toEqual([2, 3, 4]);
    expect(b).toEqual([2, 3, 4]);
    expect(runs).toBe(2);
  });

  it('hands the error of its source on, after the items before it', async () => {
    async function* broken(): AsyncGenerator<number> {
      yield 1;
      yield 2;
      throw new Error('no more');
    }
    const seen: number[] = [];
    await expect(
      (async () => {
        for await (const x of from(broken()).pipe(mapBounded(async (v) => v, { concurrency: 4 }))) seen.push(x);
      })(),
    ).rejects.toThrow('no more');
    expect(seen).toEqual([1, 2]);
    const error = await new Promise((resolve) => from(broken()).subscribe({ error: resolve }));
    expect(error).toMatchObject({ message: 'no more' });
  });

  it('serves next() calls that do not wait for one another, in order', async () => {
    const iterator = from([1, 2, 3])[Symbol.asyncIterator]();
    const steps = await Promise.all([iterator.next(), iterator.next(), iterator.next(), iterator.next()]);
    expect(steps.map((step) => step.value)).toEqual([1, 2, 3, undefined]);
  });
});

describe('a Flow that is left', () => {
  it('closes the source when a for await breaks', async () => {
    const { source, seen } = counted(1000);
    for await (const x of from(source()).pipe(mapBounded(async (v) => v, { concurrency: 2 }))) if (x === 3) break;
    expect(seen.closed).toBe(1);
    expect(seen.pulled).toBeLessThanOrEqual(7);
  });

  it('closes the source and aborts what is in flight when it is unsubscribed', async () => {
    const { source, seen } = counted(1000);
    const aborted: number[] = [];
    const subscription = from(source())
      .pipe(
        mapBounded(
          (v, { signal }) =>
            new Promise<number>((_, reject) => {
              signal.addEventListener('abort', () => {
                aborted.push(v);
                reject(signal.reason);
              });
            }),
          { concurrency: 3 },
        ),
      )
      .subscribe({ error: () => aborted.push(-1) });
    await new Promise((resolve) => setTimeout(resolve, 5));
    subscription.unsubscribe();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(aborted).toEqual([0, 1, 2]);
    expect(seen).toEqual({ pulled: 3, closed: 1, opened: 1 });
  });

  it('stops when an rxjs operator has enough', async () => {
    const { source, seen } = counted(1000);
    expect(await firstValueFrom(from(source()).pipe(take(2), toArray()))).toEqual([0, 1]);
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(seen.closed).toBe(1);
    expect(seen.pulled).toBe(2);
  });

  it('does not wait for a source that is busy, nor report what it throws afterwards', async () => {
    let reject: ((error: Error) => void) | undefined;
    async function* stuck(): AsyncGenerator<number> {
      yield 1;
      await new Promise((_, no) => {
        reject = no;
      });
    }
    const iterator = from(stuck())[Symbol.asyncIterator]();
    await iterator.next();
    const pending = iterator.next();
    await new Promise((resolve) => setTimeout(resolve, 0));
    await iterator.return?.();
    expect(await pending).toEqual({ done: true, value: undefined });
    reject?.(new Error('too late'));
    await new Promise((resolve) => setTimeout(resolve, 0));
  });
});

describe('a signal', () => {
  const reason = new Error('the user is gone');

  it('ends every run with its own reason, never wrapped, and closes the source', async () => {
    const { source, seen } = counted(1000);
    const controller = new AbortController();
    const run = (async () => {
      for await (const x of from(source(), { signal: controller.signal }).pipe(mapBounded(async (v) => v, { onError: 'item' }))) {
        if (x.value === 2) controller.abort(reason);
      }
    })();
    await expect(run).rejects.toBe(reason);
    expect(seen.closed).toBe(1);
  });

  it('reaches a mapper that waits, even one that does not listen', async () => {
    const controller = new AbortController();
    const waiting = from([1]).pipe(
      mapBounded(() => new Promise<number>(() => undefined), { onError: 'item' }),
      abortOn(controller.signal),
    );
    const first = firstValueFrom(waiting);
    setTimeout(() => controller.abort(reason), 1);
    await expect(first).rejects.toBe(reason);
  });

  it('that has aborted before means that nothing is read', async () => {
    const { source, seen } = counted(3);
    await expect(collect(from(source(), { signal: AbortSignal.abort(reason) }))).rejects.toBe(reason);
    expect(seen.opened).toBe(0);
  });

  it('leaves no listeners behind', async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const counting = Object.assign(Object.create(signal) as AbortSignal, {});
    Object.defineProperties(counting, {
      aborted: { get: () => signal.aborted },
      addEventListener: { value: () => listeners++ },
      removeEventListener: { value: () => listeners-- },
    });
    for (let i = 0; i < 20; i++) await collect(from([1, 2, 3], { signal: counting }));
    expect(listeners).toBe(0);
  });

  it('ends any Observable through untilAborted', async () => {
    const controller = new AbortController();
    const end = new Promise((resolve) => untilAborted(interval(1), controller.signal).subscribe({ error: resolve }));
    controller.abort(reason);
    expect(await end).toBe(reason);
    expect(await firstValueFrom(untilAborted(of(1, 2), new AbortController().signal).pipe(toArray()))).toEqual([1, 2]);
  });
});

describe('a stage on a pushing Observable', () => {
  it('gives the same items in order', async () => {
    const stage = mapBounded(async (x: number) => x * 2, { concurrency: 3 });
    expect(await firstValueFrom(range(0, 100).pipe(stage, toArray()))).toEqual(Array.from({ length: 100 }, (_, i) => i * 2));
  });

  it('fails with QRT_FLOW_OVERFLOW beyond its bound, after what it had kept, and lets go of the source', async () => {
    const subject = new Subject<number>();
    const seen: number[] = [];
    const end = new Promise((resolve) =>
      from(subject, { buffer: 4 })
        .pipe(mapBounded(async (x) => x))
        .subscribe({ next: (x) => seen.push(x), error: resolve }),
    );
    await new Promise((resolve) => setTimeout(resolve, 0));
    for (let i = 0; i < 100; i++) subject.next(i);
    expect(await end).toMatchObject({ code: 'QRT_FLOW_OVERFLOW', details: { bound: 4 } });
    expect(seen).toEqual([0, 1, 2, 3]);
    expect(subject.observed).toBe(false);
  });

  it('unsubscribes from it when it is left', async () => {
    let closed = 0;
    const source = new Observable<number>((subscriber) => {
      subscriber.next(1);
      return () => closed++;
    });
    for await (const _ of from(source)) break;
    expect(closed).toBe(1);
  });

  it('does not overflow between stages of one Flow, however slow the last one is', async () => {
    const { source, seen } = counted(5000);
    let finished = 0;
    let most = 0;
    const run = flow(
      source(),
      mapBounded(async (x: number) => x, { concurrency: 4 }),
      mapBounded(
        async (x: number) => {
          if (x % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
          most = Math.max(most, seen.pulled - finished++);
          return x;
        },
        { concurrency: 2 },
      ),
    );
    expect(await collect(run)).toHaveLength(5000);
    expect(most).toBeLessThanOrEqual(7);
  });
});

describe('a subscription to a source whose items are all there', () => {
  it('lets timers run in between', async () => {
    let ticked = false;
    function* untilTicked(): Generator<number> {
      for (let i = 0; !ticked && i < 50_000_000; i++) yield i;
    }
    setTimeout(() => {
      ticked = true;
    });
    await new Promise<void>((resolve) => from(untilTicked()).subscribe({ complete: resolve }));
    expect(ticked).toBe(true);
  });
});
