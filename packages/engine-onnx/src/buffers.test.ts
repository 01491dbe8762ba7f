import { float32, int64 } from '@querent/core';
import { add, concat, createGraph } from '@querent/graph';
import { expect, test } from 'vitest';
import { BufferPool, allocateOutputs } from './buffers.ts';
import { createOnnxEngine } from './engine.ts';

test('a pool copies, uses buffers of the same size again, and forgets beyond its bound', () => {
  const pool = new BufferPool(64);
  const source = float32([4], [1, 2, 3, 4]);
  const copy = pool.copy(source);
  expect(copy).toEqual(source);
  expect(copy.data.buffer).not.toBe(source.data.buffer);
  const { buffer } = copy.data;
  pool.give(buffer as ArrayBuffer);
  expect(pool.bytes).toBe(16);
  const again = pool.copy(int64([2], [5, 6])); // also 16 bytes
  expect(again.data.buffer).toBe(buffer);
  expect(again).toEqual(int64([2], [5, 6]));
  expect(pool.bytes).toBe(0);
  pool.give(new ArrayBuffer(48));
  pool.give(new ArrayBuffer(48));
  expect(pool.bytes).toBe(48);
  pool.clear();
  expect(pool.bytes).toBe(0);
});

test('a pool copies only the part of a buffer that a tensor views', () => {
  const all = Float32Array.of(1, 2, 3, 4);
  expect(new BufferPool(0).copy(float32([2], all.subarray(1, 3)))).toEqual(float32([2], [2, 3]));
});

test('allocates outputs from named dims and expressions of them', async () => {
  const g = createGraph('grow');
  const past = g.input('past', 'float32', ['batch', 'past']);
  const tokens = g.input('tokens', 'float32', ['batch', 'tokens']);
  g.output('all', concat([past, tokens], 1));
  g.output('more', add(tokens, 1));
  await using engine = createOnnxEngine({ threads: 1 });
  await using executable = await engine.compile(g.graph, new Map());
  const into = allocateOutputs(executable, { batch: 1, past: 2, tokens: 1 });
  expect(into['all']!.shape).toEqual([1, 3]);
  const result = await executable.run({ past: float32([1, 2], [1, 2]), tokens: float32([1, 1], [3]) }, { into });
  expect(result['all']).toBe(into['all']);
  expect([...into['all']!.data, ...into['more']!.data]).toEqual([1, 2, 3, 4]);
  expect(() => allocateOutputs(executable, { batch: 1 })).toThrow(expect.objectContaining({ code: 'QRT_USAGE', message: expect.stringContaining('past') }));
  expect(() => allocateOutputs(executable, { batch: 1 }, ['nothing'])).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
});
