import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { asResults, batch, failure, flatten, from, isFailure, mapBatches, mapBounded, mapResults, success, valueOf } from '../index.ts';
import type { Result } from '../index.ts';

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of source) all.push(item);
  return all;
}

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('mapBounded', () => {
  it('keeps order and its bound for any delays, concurrency and length', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(3), { maxLength: 30 }), fc.integer({ min: 1, max: 5 }), fc.boolean(), async (delays, concurrency, ordered) => {
        let pulled = 0;
        let delivered = 0;
        let running = 0;
        let most = 0;
        let mostRunning = 0;
        function* source(): Generator<number> {
          for (let i = 0; i < delays.length; i++) {
            pulled++;
            most = Math.max(most, pulled - delivered);
            yield i;
          }
        }
        const results: number[] = [];
        const mapped = from(source()).pipe(
          mapBounded(
            async (i) => {
              mostRunning = Math.max(mostRunning, ++running);
              for (let t = 0; t < delays[i]!; t++) await tick();
              running--;
              return i;
            },
            { concurrency, ordered },
          ),
        );
        for await (const i of mapped) {
          delivered++;
          results.push(i);
        }
        const all = delays.map((_, i) => i);
        expect(ordered ? results : results.toSorted((a, b) => a - b)).toEqual(all);
        expect(mostRunning).toBeLessThanOrEqual(concurrency);
        expect(most).toBeLessThanOrEqual(concurrency + 1);
      }),
      { numRuns: 60 },
    );
  });

  it('works on several items at once', async () => {
    let waiting: (() => void)[] = [];
    const mapped = from([1, 2, 3, 4]).pipe(
      mapBounded(
        (x) =>
          new Promise<number>((resolve) => {
            waiting.push(() => resolve(x));
            if (waiting.length === 2) {
              const go = waiting;
              waiting = [];
              for (const one of go) one();
            }
          }),
        { concurrency: 2 },
      ),
    );
    expect(await collect(mapped)).toEqual([1, 2, 3, 4]);
  });

  it('hands on what is ready first when order does not matter', async () => {
    const mapped = from([30, 0, 1]).pipe(
      mapBounded(
        async (ticks) => {
          for (let t = 0; t < ticks; t++) await tick();
          return ticks;
        },
        { concurrency: 3, ordered: false },
      ),
    );
    expect(await collect(mapped)).toEqual([0, 1, 30]);
  });

  it('stays flat on a million items', async () => {
    let pulled = 0;
    let finished = 0;
    let most = 0;
    function* source(): Generator<number> {
      while (pulled < 1_000_000) {
        yield pulled++;
        if (pulled - finished > most) most = pulled - finished;
      }
    }
    let sum = 0;
    for await (const result of from(source()).pipe(mapBounded((x) => x, { concurrency: 8, onError: 'item' }))) {
      finished++;
      sum += valueOf(result);
    }
    expect(sum).toBe((1_000_000 * 999_999) / 2);
    expect(most).toBeLessThanOrEqual(10);
  });

  it("ends at the first error by default, after what came before, and takes nothing more", async () => {
    const seen: number[] = [];
    const pulled: number[] = [];
    function* source(): Generator<number> {
      for (let i = 0; ; i++) {
        pulled.push(i);
        yield i;
      }
    }
    const mapped = from(source()).pipe(
      mapBounded(
        async (x) => {
          if (x === 2) throw new Error('two is bad');
          return x;
        },
        { concurrency: 2 },
      ),
    );
    await expect(
      (async () => {
        for await (const x of mapped) seen.push(x);
      })(),
    ).rejects.toThrow('two is bad');
    expect(seen).toEqual([0, 1]);
    expect(pulled.length).toBeLessThanOrEqual(4);
  });

  it("makes an item that fails a failed result with onError: 'item', also for a synchronous throw of something that is no Error", async () => {
    const mapped = from([1, 2, 3]).pipe(
      mapBounded(
        (x): number => {
          if (x === 2) throw 'odd';
          return x * 10;
        },
        { onError: 'item', concurrency: 2 },
      ),
    );
    const results = await collect(mapped);
    expect(results.map((r) => (isFailure(r) ? r.error.message : r.value))).toEqual([10, 'odd', 30]);
    expect(results.map((r) => r.item)).toEqual([1, 2, 3]);
    expect(() => valueOf(results[1]!)).toThrow('odd');
  });

  it('refuses a concurrency below one', () => {
    expect(() => mapBounded((x: number) => x, { concurrency: 0 })).toThrow('expected at least 1');
  });
});

describe('mapResults', () => {
  it('leaves failed results as they are and keeps each item', async () => {
    const bad = failure('b', new Error('no image'));
    const input: Result<string, number>[] = [success('a', 1), bad, success('c', 3)];
    const results = await collect(
      from(input).pipe(
        mapResults(
          async (x, { item }) => {
            if (x === 3) throw new Error(`no caption for ${item}`);
            return x + 1;
          },
          { concurrency: 2 },
        ),
      ),
    );
    expect(results[0]).toEqual({ item: 'a', value: 2 });
    expect(results[1]).toBe(bad);
    expect(results[2]).toMatchObject({ item: 'c', error: { message: 'no caption for c' } });
  });

  it('one bad item among a thousand fails alone through several stages', async () => {
    const results = await collect(
      from(Array.from({ length: 1000 }, (_, i) => i)).pipe(
        mapBounded(
          async (i) => {
            if (i === 500) throw new Error('corrupt');
            return i;
          },
          { concurrency: 4, onError: 'item' },
        ),
        mapBatches(async (values) => values.map((v) => v * 2), { size: 16 }),
        mapResults((v) => v + 1),
      ),
    );
    expect(results.filter(isFailure).map((r) => r.item)).toEqual([500]);
    expect(results.map((r) => r.item)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(results[999]!.value).toBe(1999);
  });
});

describe('batch', () => {
  it('groups in order, the last group smaller, and flatten takes them apart', async () => {
    expect(await collect(from([1, 2, 3, 4, 5]).pipe(batch(2)))).toEqual([[1, 2], [3, 4], [5]]);
    expect(await collect(from([1, 2, 3, 4, 5]).pipe(batch(2), flatten()))).toEqual([1, 2, 3, 4, 5]);
    expect(await collect(from([]).pipe(batch(2)))).toEqual([]);
    expect(() => batch(0)).toThrow(RangeError);
  });

  it('hands on what it has before the error of its source', async () => {
    function* broken(): Generator<number> {
      yield* [1, 2, 3];
      throw new Error('torn');
    }
    const seen: number[][] = [];
    await expect(
      (async () => {
        for await (const group of from(broken()).pipe(batch(2))) seen.push(group);
      })(),
    ).rejects.toThrow('torn');
    expect(seen).toEqual([[1, 2], [3]]);
  });

  it('hands on a part when its first item has waited long enough', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      async function* source(): AsyncGenerator<string> {
        yield 'a';
        yield 'b';
        await new Promise((resolve) => setTimeout(resolve, 1000));
        yield 'c';
      }
      const seen: [number, string[]][] = [];
      let now = 0;
      const run = (async () => {
        for await (const group of from(source()).pipe(batch(3, { maxWaitMs: 50 }))) seen.push([now, group]);
      })();
      for (; now <= 1100; now += 10) await vi.advanceTimersByTimeAsync(10);
      await run;
      expect(seen.map(([, group]) => group)).toEqual([['a', 'b'], ['c']]);
      expect(seen[0]![0]).toBe(40); // the step that reaches 50 ms
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it('has at most one group waiting', async () => {
    let pulled = 0;
    function* source(): Generator<number> {
      for (;;) yield pulled++;
    }
    const iterator = from(source()).pipe(batch(4))[Symbol.asyncIterator]();
    await iterator.next();
    for (let i = 0; i < 20; i++) await tick();
    expect(pulled).toBeLessThanOrEqual(9);
    await iterator.return?.();
  });
});

describe('mapBatches', () => {
  it('tries the values of a failed batch one by one, so that only the bad ones fail', async () => {
    const sizes: number[] = [];
    const results = await collect(
      from([1, 2, 3, 4, 5]).pipe(
        asResults(),
        mapBatches(
          (values) => {
            sizes.push(values.length);
            if (values.includes(2)) throw new Error('two');
            return values.map((v) => v * 10);
          },
          { size: 3 },
        ),
      ),
    );
    expect(results.map((r) => r.value)).toEqual([10, undefined, 30, 40, 50]);
    expect(sizes).toEqual([3, 1, 1, 1, 2]);
  });

  it('fails them all when they are not to be tried alone', async () => {
    const stage = mapBatches<number, number, number>(() => Promise.reject(new Error('down')), { size: 2, isolate: false });
    const results = await collect(from([1, 2]).pipe(asResults(), stage));
    expect(results.map((r) => r.error?.message)).toEqual(['down', 'down']);
  });

  it('is not called for failed results alone, and keeps their place', async () => {
    const bad = failure('x', new Error('bad'));
    let calls = 0;
    const stage = mapBatches<string, number, number>((values) => (calls++, values), { size: 2 });
    expect(await collect(from([bad, bad, success('y', 1), bad]).pipe(stage))).toEqual([bad, bad, { item: 'y', value: 1 }, bad]);
    expect(calls).toBe(1);
  });

  it('ends the flow when it gives another number of outputs', async () => {
    const stage = mapBatches<number, number, number>(() => [], { size: 2 });
    await expect(collect(from([1, 2]).pipe(asResults(), stage))).rejects.toMatchObject({ code: 'QRT_USAGE' });
  });

  it('is a cancellation, not a failed item, when the signal aborts', async () => {
    const controller = new AbortController();
    const reason = new Error('stop');
    const stage = mapBatches<number, number, number>(
      (_, { signal }) => {
        controller.abort(reason);
        signal.throwIfAborted();
        return [];
      },
      { size: 2 },
    );
    await expect(collect(from([1, 2], { signal: controller.signal }).pipe(asResults(), stage))).rejects.toBe(reason);
  });
});
