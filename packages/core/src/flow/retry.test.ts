import { describe, expect, it } from 'vitest';
import { QuerentError, from, isTransient, mapBounded, retry, retryAfterMs, withRetries } from '../index.ts';
import type { Result } from '../index.ts';

const busy = (): Error => Object.assign(new Error('busy'), { code: 'EBUSY' });
const never = new AbortController().signal;

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of source) all.push(item);
  return all;
}

/** Notes how long it was asked to wait, and does not. */
function clock(): { readonly waits: number[]; readonly sleep: (ms: number) => Promise<void> } {
  const waits: number[] = [];
  return { waits, sleep: async (ms) => void waits.push(ms) };
}

describe('withRetries', () => {
  it('tries again with waits that double up to the longest, then throws the last error', async () => {
    const { waits, sleep } = clock();
    let tries = 0;
    const failing = withRetries(() => Promise.reject(Object.assign(busy(), { at: ++tries })), { attempts: 5, backoffMs: 100, maxBackoffMs: 300, sleep }, never);
    await expect(failing).rejects.toMatchObject({ at: 5 });
    expect(waits).toEqual([100, 200, 300, 300]);
  });

  it('gives what the first good attempt gives', async () => {
    let tries = 0;
    const run = (): number => {
      if (++tries < 3) throw busy();
      return tries;
    };
    expect(await withRetries(run, { attempts: 9, sleep: clock().sleep }, never)).toBe(3);
  });

  it('does not try twice what cannot become better', async () => {
    let tries = 0;
    const run = (): never => {
      tries++;
      throw new QuerentError('QRT_IMAGE', 'no picture');
    };
    await expect(withRetries(run, { attempts: 5, sleep: clock().sleep }, never)).rejects.toMatchObject({ code: 'QRT_IMAGE' });
    expect(tries).toBe(1);
  });

  it('ends in the middle of a wait when the signal aborts, with its reason', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const waiting = withRetries(() => Promise.reject(busy()), { attempts: 2, sleep: () => new Promise(() => controller.abort(reason)) }, controller.signal);
    await expect(waiting).rejects.toBe(reason);
  });

  it('waits as long as a server asks for, up to the longest', async () => {
    const { waits, sleep } = clock();
    const busyServer = (): Error => new Error('x', { cause: new QuerentError('QRT_IMAGE', 'x', { details: { status: 429, retryAfterMs: 250 } }) });
    await expect(withRetries(() => Promise.reject(busyServer()), { attempts: 4, backoffMs: 200, maxBackoffMs: 300, sleep }, never)).rejects.toThrow();
    expect(waits).toEqual([250, 300, 300]);
    expect([retryAfterMs('2'), retryAfterMs(' 0 '), retryAfterMs(null), retryAfterMs('soon'), retryAfterMs('Wed, 21 Oct 2015 07:28:00 GMT')]).toEqual([2000, 0, undefined, undefined, 0]);
  });

  it('refuses less than one attempt', async () => {
    await expect(withRetries(() => 1, { attempts: 0 }, never)).rejects.toBeInstanceOf(RangeError);
  });
});

describe('isTransient', () => {
  it('looks at codes and HTTP states, also of causes, and does not run in circles', () => {
    expect(isTransient(busy())).toBe(true);
    expect(isTransient(new TypeError('fetch failed', { cause: Object.assign(new Error(), { code: 'ECONNRESET' }) }))).toBe(true);
    expect(isTransient(new QuerentError('QRT_IMAGE', 'x', { details: { status: 503 } }))).toBe(true);
    expect(isTransient(new QuerentError('QRT_IMAGE', 'x', { details: { status: 404 } }))).toBe(false);
    expect(isTransient(new Error('x'))).toBe(false);
    expect(isTransient(undefined)).toBe(false);
    const circle = new Error('x');
    circle.cause = circle;
    expect(isTransient(circle)).toBe(false);
  });
});

describe('retry', () => {
  /** Fails as often as the item says; negative: for good. */
  const tries = new Map<string, number>();
  const work = mapBounded(
    async ([name, failures]: readonly [string, number]) => {
      const count = (tries.get(name) ?? 0) + 1;
      tries.set(name, count);
      if (failures < 0) throw new Error(`${name} is bad`);
      if (count <= failures) throw busy();
      return `${name}${count}`;
    },
    { onError: 'item', concurrency: 3 },
  );
  const told = (results: readonly Result<unknown, string>[]): unknown[] => results.map(({ value, error }) => value ?? error?.message);

  it('tries failed items again by themselves, keeps the order, and leaves hopeless ones', async () => {
    tries.clear();
    const items = [['a', 0], ['b', 2], ['c', -1], ['d', 5], ['e', 0]] as const;
    const { waits, sleep } = clock();
    const results = await collect(from<readonly [string, number]>(items).pipe(retry(work, { attempts: 3, backoffMs: 10, sleep })));
    expect(told(results)).toEqual(['a1', 'b3', 'c is bad', 'busy', 'e1']);
    expect(tries.get('c')).toBe(1);
    expect(tries.get('d')).toBe(3);
    expect(waits).toEqual([10, 20, 10, 20]);
  });

  it('lets go of the source and of a wait when it is left', async () => {
    tries.clear();
    let isClosed = false;
    async function* source(): AsyncGenerator<readonly [string, number]> {
      try {
        for (;;) yield ['x', 9];
      } finally {
        isClosed = true;
      }
    }
    const run = from(source()).pipe(retry(work, { attempts: 2, sleep: () => new Promise(() => undefined) }))[Symbol.asyncIterator]();
    const pending = run.next();
    await new Promise((resolve) => setImmediate(resolve));
    await run.return?.();
    expect(await pending).toEqual({ done: true, value: undefined });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isClosed).toBe(true);
  });
});
