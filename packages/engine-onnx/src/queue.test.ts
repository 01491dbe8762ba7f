import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FairQueue } from './queue.ts';

/** A job that ends when told. */
function job(): { work: () => Promise<void>; end: () => void; begun: boolean } {
  const state = { begun: false, end: () => {}, work: async () => {} };
  const ended = new Promise<void>((resolve) => {
    state.end = resolve;
  });
  state.work = () => {
    state.begun = true;
    return ended;
  };
  return state;
}

test('lanes take turns however many jobs each has', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 40 }), async (lanes) => {
      const queue = new FairQueue(1);
      const order: number[] = [];
      await Promise.all(lanes.map((lane) => queue.run(lane, async () => void order.push(lane))));
      expect([...order].sort()).toEqual([...lanes].sort());
      // Between two jobs of a lane that waited, no other lane that had jobs is passed over. The first job begins before the others exist.
      const left = new Map<number, number>();
      for (const lane of order.slice(1)) left.set(lane, (left.get(lane) ?? 0) + 1);
      let last: number | undefined;
      for (const lane of order.slice(1)) {
        if (lane === last) for (const [other, count] of left) if (other !== lane) expect(count).toBe(0);
        left.set(lane, (left.get(lane) ?? 0) - 1);
        last = lane;
      }
    }),
  );
});

test('admits as many jobs as it is wide, and the next when one ends', async () => {
  const queue = new FairQueue(2);
  const jobs = [job(), job(), job()];
  const results = jobs.map((each) => queue.run('lane', each.work));
  expect(jobs.map(({ begun }) => begun)).toEqual([true, true, false]);
  expect([queue.active, queue.waiting]).toEqual([2, 1]);
  jobs[1]!.end();
  await results[1];
  expect(jobs[2]!.begun).toBe(true);
  jobs[0]!.end();
  jobs[2]!.end();
  await Promise.all(results);
  expect([queue.active, queue.waiting]).toEqual([0, 0]);
});

test('aborting takes out what waits and leaves what has begun', async () => {
  const queue = new FairQueue(1);
  const [first, second] = [job(), job()];
  const controller = new AbortController();
  const begun = queue.run('a', first.work, controller.signal);
  const waiting = queue.run('a', second.work, controller.signal);
  controller.abort('reason');
  await expect(waiting).rejects.toBe('reason');
  await expect(queue.run('a', second.work, controller.signal)).rejects.toBe('reason');
  first.end();
  await begun;
  expect(second.begun).toBe(false);
});

test('a job that fails fails alone', async () => {
  const queue = new FairQueue(1);
  const failed = queue.run('a', async () => {
    throw new Error('mine');
  });
  const good = queue.run('a', async () => 'fine');
  await expect(failed).rejects.toThrow('mine');
  await expect(good).resolves.toBe('fine');
});

test('closing rejects what waits and what comes, and waits for what has begun', async () => {
  const queue = new FairQueue(1);
  const first = job();
  const begun = queue.run('a', first.work);
  const waiting = queue.run('b', async () => {});
  let closed = false;
  const closing = queue.close('closed').then(() => {
    closed = true;
  });
  await expect(waiting).rejects.toBe('closed');
  await expect(queue.run('c', async () => {})).rejects.toBe('closed');
  expect(closed).toBe(false);
  first.end();
  await Promise.all([begun, closing]);
  await queue.close('closed');
});
