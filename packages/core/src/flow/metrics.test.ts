import { expect, it } from 'vitest';
import { asResults, createMetrics, from, mapBounded, mapResults } from '../index.ts';

/** A promise and its way to be kept. */
function deferred(): { readonly promise: Promise<void>; readonly done: () => void } {
  let done = (): void => undefined;
  const promise = new Promise<void>((resolve) => (done = resolve));
  return { promise, done };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it('counts items and errors where they happen, not where they pass', async () => {
  const metrics = createMetrics();
  const run = from([1, 2, 3, 4]).pipe(
    metrics.measure('start', asResults<number>()),
    metrics.measure('odd', mapResults<number, number, number>((x) => { if (x % 2 === 0) throw new Error('even'); return x; })),
    metrics.measure('small', mapResults<number, number, number>((x) => { if (x > 2) throw new Error('large'); return x; })),
  );
  const errors: (string | undefined)[] = [];
  for await (const { error } of run) errors.push(error?.message);
  expect(errors).toEqual([undefined, 'even', 'large', 'even']);
  expect(metrics.read()).toMatchObject([
    { name: 'start', taken: 4, done: 4, failed: 0, depth: 0 },
    { name: 'odd', taken: 4, done: 4, failed: 2, depth: 0 },
    { name: 'small', taken: 4, done: 4, failed: 1, depth: 0 },
  ]);
});

it('tells a slow stage from one that waits for it, on a clock of its own', async () => {
  let now = 0;
  const metrics = createMetrics({ now: () => now });
  const gates = [deferred(), deferred()];
  let given = 0;
  const run = from([0, 1])
    .pipe(metrics.measure('slow', mapBounded((i: number) => gates[i]!.promise)), metrics.measure('quick', mapBounded((x: void) => x, { concurrency: 3 })))
    [Symbol.asyncIterator]();
  const first = run.next().then(() => given++);
  await settle();
  expect(metrics.read()).toMatchObject([{ depth: 1, done: 0 }, { depth: 0, done: 0 }]);
  now = 10;
  gates[0]!.done();
  await first;
  now = 15; // `slow` works on the second one, which `quick` has asked for ahead
  gates[1]!.done();
  await settle();
  now = 40; // nobody reads
  const [slow, quick] = metrics.read();
  expect(slow).toMatchObject({ taken: 2, done: 2, inStageMs: 15, depth: 0 });
  expect(quick).toMatchObject({ taken: 2, done: 1, depth: 1, waitingMs: 15, unreadMs: 25 });
  await run.next();
  expect((await run.next()).done).toBe(true);
  expect(metrics.read()[1]).toMatchObject({ done: 2, depth: 0, inStageMs: 25 });
});

it('forgets what was in a run that is left', async () => {
  const metrics = createMetrics();
  for await (const _ of from([1, 2, 3, 4, 5]).pipe(metrics.measure('one', mapBounded((x: number) => x, { concurrency: 3 })))) break;
  expect(metrics.read()).toMatchObject([{ done: 1, depth: 0 }]);
  expect(metrics.read()[0]!.maxDepth).toBeLessThanOrEqual(3);
});
