/** Beams that change places keep their own memory, and no more of it is copied than differs. */
import type { TensorData } from '@querent/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Memory } from './memory.ts';
import { place } from './placement.ts';

const HEADS = 2;
const HEAD_WIDTH = 3;

/** A cache as the decode graph declares it. */
const PORTS = {
  inputs: [{ name: 'past_key_values.0.key', dtype: 'float32', shape: ['batch', HEADS, 'cache', HEAD_WIDTH] }],
  outputs: [{ name: 'present.0.key', dtype: 'float32', shape: ['batch', HEADS, 'cache', HEAD_WIDTH] }],
} as const;

function promptOf(batch: number, slots: number): Record<string, TensorData> {
  const data = Float32Array.from({ length: batch * HEADS * slots * HEAD_WIDTH }, (_, i) => -1 - i);
  return { 'present.0.key': { dtype: 'float32', shape: [batch, HEADS, slots, HEAD_WIDTH], data } };
}

/** What a row's cache holds of one slot: the same number in every head and column. */
function slotOf(memory: Memory, row: number, slot: number): number {
  const { data } = memory.ports().feeds['past_key_values.0.key']!;
  const values = Array.from({ length: HEADS * HEAD_WIDTH }, (_, i) => Number(data[((row * HEADS + Math.floor(i / HEAD_WIDTH)) * memory.slots + slot) * HEAD_WIDTH + (i % HEAD_WIDTH)]));
  expect(new Set(values).size).toBe(1);
  return values[0]!;
}

function write(memory: Memory, row: number, slot: number, value: number): void {
  const data = memory.ports().into['present.0.key']!.data as Float32Array; // declared float32
  for (let head = 0; head < HEADS; head++) data.fill(value, ((row * HEADS + head) * memory.slots + slot) * HEAD_WIDTH, ((row * HEADS + head) * memory.slots + slot + 1) * HEAD_WIDTH);
}

/** Batch, beams, and for each step the parent of each beam within its row of the batch. */
const searches = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 5 })).chain(([batch, width]) =>
  fc.record({
    batch: fc.constant(batch),
    width: fc.constant(width),
    steps: fc.array(fc.array(fc.integer({ min: 0, max: width - 1 }), { minLength: batch * width, maxLength: batch * width }), { minLength: 1, maxLength: 90 }),
  }),
);

describe('the memory of beams', () => {
  it('is its own whatever parents the beams have, while the caches grow', () => {
    fc.assert(
      fc.property(searches, ({ batch, width, steps }) => {
        const rows = batch * width;
        const memory = new Memory(PORTS, promptOf(batch, 2), { rows, width, promptSlots: 2, maxSlots: 2 + steps.length + 1 });
        let places: readonly number[] = Array.from({ length: rows }, (_, row) => row);
        let histories: readonly (readonly number[])[] = places.map(() => []);
        let said = 0;
        const say = (slot: number): void => {
          memory.reach(slot);
          histories = histories.map((history, row) => {
            write(memory, places[row]!, slot, ++said);
            return [...history, said];
          });
        };
        say(2);
        steps.forEach((inner, step) => {
          const parents = inner.map((parent, row) => row - (row % width) + parent);
          const placed = place(parents, places, width);
          memory.move(placed.moves, 3 + step);
          ({ places } = placed);
          histories = parents.map((parent) => histories[parent]!);
          say(3 + step);
        });
        histories.forEach((history, row) => expect(history.map((_, i) => slotOf(memory, places[row]!, 2 + i))).toEqual(history));
        const { data } = memory.ports().feeds['past_key_values.0.key']!;
        const prompt = promptOf(batch, 2)['present.0.key']!.data;
        for (let row = 0; row < rows; row++) expect(data[row * HEADS * memory.slots * HEAD_WIDTH]).toBe(prompt[Math.floor(row / width) * HEADS * 2 * HEAD_WIDTH]);
      }),
      { numRuns: 60 },
    );
  });

  it('does not move when every beam goes on from another: they change names only', () => {
    expect(place([2, 0, 1], [0, 1, 2], 3)).toEqual({ places: [2, 0, 1], moves: [] });
  });

  it('copies a child only from where it differs from the row that it replaces', () => {
    const memory = new Memory(PORTS, promptOf(1, 2), { rows: 3, width: 3, promptSlots: 2, maxSlots: 10 });
    for (const [row, value] of [1, 2, 3].entries()) write(memory, row, 2, value);
    expect(memory.move([{ from: 0, to: 1 }, { from: 0, to: 2 }], 3)).toBe(2); // both are now children of row 0
    for (const [row, value] of [4, 5, 6].entries()) write(memory, row, 3, value);
    expect(memory.move([{ from: 1, to: 2 }], 4)).toBe(1); // slot 2 is the same already
    expect([2, 3].map((slot) => slotOf(memory, 2, slot))).toEqual([1, 5]);
    expect(memory.move([{ from: 1, to: 2 }], 4)).toBe(0);
  });

  it('never reads a row that it overwrites', () => {
    fc.assert(
      fc.property(searches, ({ batch, width, steps }) => {
        let places: readonly number[] = Array.from({ length: batch * width }, (_, row) => row);
        for (const inner of steps) {
          const placed = place(inner.map((parent, row) => row - (row % width) + parent), places, width);
          const read = new Set(placed.moves.map(({ from }) => from));
          expect(placed.moves.filter(({ to }) => read.has(to))).toEqual([]);
          ({ places } = placed);
          expect(new Set(places).size).toBe(batch * width);
        }
      }),
    );
  });
});
