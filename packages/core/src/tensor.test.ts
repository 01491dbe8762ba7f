import { expect, it } from 'vitest';
import { allocate, elementCount, float32, int64, isFileTensor, tensor, viewAs, zeros } from './index.ts';

it('a tensor takes exactly as many elements as its shape has', () => {
  expect(float32([2, 2], [1, 2, 3, 4]).data).toEqual(Float32Array.of(1, 2, 3, 4));
  expect(int64([2], [1, 2]).data).toEqual(BigInt64Array.of(1n, 2n));
  expect(() => tensor('float32', [3], new Float32Array(2))).toThrow(/\[3\] holds 3 elements, the data has 2/);
  expect(elementCount([])).toBe(1);
  expect(zeros('bool', [2, 0]).data.length).toBe(0);
});

it('data that is given as a typed array is not copied', () => {
  const data = new Float32Array(2);
  expect(float32([2], data).data).toBe(data);
});

it('bytes are read as any dtype, copied only when they are not aligned', () => {
  const bytes = new Uint8Array(Float32Array.of(0, 1.5, -2).buffer);
  expect(viewAs('float32', bytes.subarray(4)).buffer).toBe(bytes.buffer);
  const shifted = new Uint8Array(13);
  shifted.set(bytes, 1);
  expect(viewAs('float32', shifted.subarray(1))).toEqual(Float32Array.of(0, 1.5, -2));
  expect(viewAs('int8', Uint8Array.of(255))[0]).toBe(-1);
  expect(allocate('float16', 2)).toBeInstanceOf(Uint16Array);
});

it('a tensor in a file is told from one in memory', () => {
  expect(isFileTensor({ dtype: 'float32', shape: [1], file: 'a', offset: 0, byteLength: 4 })).toBe(true);
  expect(isFileTensor(zeros('float32', [1]))).toBe(false);
});

it('bytes of a Buffer that no element can start at are copied, not viewed', () => {
  const bytes = Buffer.from(new Uint8Array(12));
  bytes.writeFloatLE(2.5, 1);
  expect([...viewAs('float32', bytes.subarray(1, 5))]).toEqual([2.5]);
});
