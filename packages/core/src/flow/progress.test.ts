import { describe, expect, it } from 'vitest';
import { createMeter, from, mapBounded, withProgress } from '../index.ts';

describe('the progress meter', () => {
  it('tells rate and time left exactly while the speed is constant', () => {
    let time = 0;
    const meter = createMeter({ total: 100, now: () => time });
    expect(meter.read()).toMatchObject({ done: 0, rate: 0, etaMs: undefined });
    for (let i = 0; i < 40; i++) {
      time += 50;
      meter.add();
    }
    const { rate, etaMs, elapsedMs, done } = meter.read();
    expect(done).toBe(40);
    expect(rate).toBeCloseTo(20, 9);
    expect(etaMs).toBeCloseTo(3000, 6);
    expect(elapsedMs).toBe(2000);
  });

  it('follows a change of speed and slows down while nothing comes', () => {
    let time = 0;
    const meter = createMeter({ now: () => time });
    for (let i = 0; i < 100; i++) {
      time += 1000;
      meter.add();
    }
    for (let i = 0; i < 1000; i++) {
      time += 100;
      meter.add();
    }
    expect(meter.read().rate).toBeCloseTo(10, 1);
    time += 20_000;
    expect(meter.read().rate).toBeLessThan(2);
    expect(meter.read().etaMs).toBeUndefined();
  });

  it('has no time left at the end', () => {
    const meter = createMeter({ total: 1, now: () => 0 });
    meter.add(1, 1);
    expect(meter.read()).toMatchObject({ done: 1, failed: 1, etaMs: 0, rate: 0 });
  });
});

describe('withProgress', () => {
  it('puts events between the items when they are due, and one at the end', async () => {
    let time = 0;
    const events: string[] = [];
    const flow = from([1, 2, 3, 4]).pipe(
      mapBounded(
        (x) => {
          if (x === 2) throw new Error('two');
          return x;
        },
        { onError: 'item' },
      ),
      withProgress({ total: 4, everyMs: 100, now: () => (time += 20) }),
    );
    for await (const event of flow) {
      events.push(event.type === 'item' ? `item ${event.item.item}` : `${event.done}/${event.total} failed ${event.failed}`);
    }
    expect(events.filter((event) => event.startsWith('item'))).toEqual(['item 1', 'item 2', 'item 3', 'item 4']);
    expect(events.at(-1)).toBe('4/4 failed 1');
    expect(events.length).toBeGreaterThan(5);
  });

  it('says where it stands even when there was nothing', async () => {
    const events = [];
    for await (const event of from<number>([]).pipe(withProgress())) events.push(event);
    expect(events).toMatchObject([{ type: 'progress', done: 0, total: undefined }]);
  });
});
