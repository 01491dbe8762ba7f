import fc from 'fast-check';
import { expect, it } from 'vitest';
import { batch, flatten, from, mapBounded, throughStage } from '../index.ts';
import type { Stage } from '../index.ts';

const big: Stage<number, number> = (source) => from(source).pipe(batch(3), mapBounded((xs: number[]) => xs.map((x) => x * 10), { concurrency: 2 }), flatten());

/** Even numbers go through, odd ones pass. */
const around = (inner: Stage<number, number>): Stage<number, string> =>
  throughStage<number, number, number, string>(inner, {
    enter: (x) => (x % 2 === 0 ? { input: x } : { pass: `pass ${x}` }),
    leave: (x, y) => `${x} → ${y}`,
  });
const expected = (x: number): string => (x % 2 === 0 ? `${x} → ${x * 10}` : `pass ${x}`);

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of source) all.push(item);
  return all;
}

it('keeps the order and loses nothing, whatever passes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(9), { maxLength: 40 }), async (items) => {
      expect(await collect(from(items).pipe(around(big)))).toEqual(items.map(expected));
    }),
    { numRuns: 60 },
  );
});

it('hands on what passes while the stage waits for more', async () => {
  let stop = (): void => undefined;
  async function* source(): AsyncGenerator<number> {
    yield 1;
    yield 3;
    await new Promise<void>((resolve) => (stop = resolve));
  }
  const run = from(source()).pipe(around(big))[Symbol.asyncIterator]();
  expect((await run.next()).value).toBe('pass 1');
  expect((await run.next()).value).toBe('pass 3');
  await run.return?.();
  stop();
});

it('takes no more than a bound of what passes ahead of a reader', async () => {
  let taken = 0;
  function* source(): Generator<number> {
    for (;;) {
      taken++;
      yield 1;
    }
  }
  const run = from(source()).pipe(around(big))[Symbol.asyncIterator]();
  await run.next();
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  expect(taken).toBeLessThan(80);
  await run.return?.();
});

it('closes the source and the stage when it is left, and hands an error of either on', async () => {
  let isClosed = false;
  async function* source(): AsyncGenerator<number> {
    try {
      for (let i = 0; ; i++) yield i;
    } finally {
      isClosed = true;
    }
  }
  for await (const told of from(source()).pipe(around(big))) if (told === '4 → 40') break;
  expect(isClosed).toBe(true);
  const broken = mapBounded((x: number): number => { if (x === 4) throw new Error('stage'); return x; });
  await expect(collect(from([1, 2, 3, 4, 5]).pipe(around(broken)))).rejects.toThrow('stage');
  async function* bad(): AsyncGenerator<number> {
    yield 2;
    throw new Error('source');
  }
  await expect(collect(from(bad()).pipe(around(broken)))).rejects.toThrow('source');
});
