import { describe, expect, it } from 'vitest';
import { joinCalls } from '../index.ts';
import type { JoinedCall } from '../index.ts';

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

/** Batches that wait to be answered. */
function desk(size: number, concurrency = 1) {
  const batches: { readonly calls: readonly JoinedCall<number, string>[]; readonly signal: AbortSignal; readonly finish: (error?: Error) => void }[] = [];
  const joined = joinCalls<number, string>(
    (calls, { signal }) => new Promise((resolve, reject) => batches.push({ calls, signal, finish: (error) => (error === undefined ? resolve() : reject(error)) })),
    { size, concurrency },
  );
  const answer = (at: number): void => {
    for (const { input, resolve } of batches[at]!.calls) resolve(`#${input}`);
    batches[at]!.finish();
  };
  return { batches, joined, answer, inputs: () => batches.map(({ calls }) => calls.map(({ input }) => input)) };
}

describe('joined calls', () => {
  it('of one turn go together, no more than fit, and the rest gathers while a batch is worked on', async () => {
    const { joined, inputs, answer } = desk(3);
    const first = [1, 2, 3, 4].map((input) => joined.call(input));
    await settle();
    expect(inputs()).toEqual([[1, 2, 3]]);
    const later = [5, 6].map((input) => joined.call(input));
    await settle();
    expect(joined.waiting).toBe(3);
    answer(0);
    await settle();
    expect(inputs()).toEqual([[1, 2, 3], [4, 5, 6]]);
    answer(1);
    expect(await Promise.all([...first, ...later])).toEqual(['#1', '#2', '#3', '#4', '#5', '#6']);
  });

  it('a lone one does not wait for company', async () => {
    const { joined, inputs, answer } = desk(32);
    const call = joined.call(7);
    await settle();
    expect(inputs()).toEqual([[7]]);
    answer(0);
    expect(await call).toBe('#7');
  });

  it('is answered before its batch is over', async () => {
    const { joined, batches } = desk(2);
    const [quick, slow] = [joined.call(1), joined.call(2)];
    await settle();
    batches[0]!.calls[0]!.resolve('now');
    expect(await quick).toBe('now');
    batches[0]!.calls[1]!.reject(new Error('bad one'));
    await expect(slow).rejects.toThrow('bad one');
  });

  it('fails with its batch, and the next one goes on', async () => {
    const { joined, batches, answer } = desk(1);
    const [bad, good] = [joined.call(1), joined.call(2)];
    const failed = expect(bad).rejects.toThrow('broken');
    await settle();
    batches[0]!.finish(new Error('broken'));
    await failed;
    await settle();
    answer(1);
    expect(await good).toBe('#2');
  });

  it('is told when its batch forgets it', async () => {
    const { joined, batches } = desk(1);
    const forgotten = expect(joined.call(1)).rejects.toThrow('without an answer');
    await settle();
    batches[0]!.finish();
    await forgotten;
  });

  it('leaves at once when its signal aborts: out of the queue, or out of a batch that stops when all have left', async () => {
    const { joined, batches, inputs, answer } = desk(2);
    const reason = new Error('gone');
    const controllers = [1, 2, 3, 4].map(() => new AbortController());
    const calls = controllers.map(({ signal }, i) => joined.call(i, { signal }));
    const ended = [0, 1, 2].map((i) => expect(calls[i]).rejects.toBe(reason));
    await settle();
    controllers[2]!.abort(reason);
    await ended[2];
    controllers[0]!.abort(reason);
    await ended[0];
    expect(batches[0]!.signal.aborted).toBe(false);
    controllers[1]!.abort(reason);
    await ended[1];
    expect(batches[0]!.signal.aborted).toBe(true);
    batches[0]!.finish(reason);
    await settle();
    expect(inputs()).toEqual([[0, 1], [3]]);
    answer(1);
    expect(await calls[3]).toBe('#3');
    await expect(joined.call(9, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});
