import { isQuerentError, validate } from '@querent/core';
import type { TensorData } from '@querent/core';
import { describe, expect, test } from 'vitest';
import { caption, embed, match, similarities, stack, taskPlugins, unstack } from './index.ts';
import { holdsImage } from './image-input.ts';

const tensor = (shape: readonly number[], data: readonly number[]): TensorData<'float32'> => ({ dtype: 'float32', shape, data: Float32Array.from(data) });

test('rows come out of a batch as they went in', () => {
  const rows = [tensor([2, 1], [1, 2]), tensor([2, 1], [3, 4])];
  const batch = stack(rows);
  expect(batch.shape).toEqual([2, 2, 1]);
  expect(unstack(batch)).toEqual(rows);
  expect(unstack(tensor([0, 3], []))).toEqual([]);
});

test('rows of different shapes, and none, are no batch', () => {
  expect(() => stack([])).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
  expect(() => stack([tensor([2], [1, 2]), tensor([1], [1])])).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
});

test('similarity is the largest cosine over the queries', () => {
  const images = tensor([2, 2, 2], [1, 0, 0, 1, -1, 0, 0.6, 0.8]);
  const texts = tensor([2, 2], [1, 0, 0, -1]);
  expect(similarities(images, texts).map((row) => Array.from(row, (value) => Number(value.toFixed(4))))).toEqual([[1, 0], [0.6, 0]]);
});

test('an object with an image is told from an image', () => {
  expect(holdsImage({ image: 'a.jpg' })).toBe(true);
  for (const image of ['a.jpg', new URL('file:///a.jpg'), new Uint8Array(3), { width: 1, height: 1, channels: 3 as const, data: new Uint8Array(3) }]) {
    expect(holdsImage<{ image: string }>(image)).toBe(false);
  }
});

describe('input schemas', () => {
  const complaint = (schema: Readonly<Record<string, unknown>>, value: unknown): string => {
    try {
      validate(schema, value);
      return '';
    } catch (error) {
      if (isQuerentError(error)) return error.message;
      throw error;
    }
  };

  test('take what their types take', () => {
    for (const good of ['a.jpg', new URL('file:///a.jpg'), Buffer.from('x'), new Blob([]), { image: 'a.jpg' }, { image: new Uint8Array(1), numBeams: 5, stop: ['.'] }]) {
      expect(complaint(caption.input, good)).toBe('');
    }
    expect(complaint(match.input, { image: 'a.jpg', text: 'a dog', threshold: 0.7 })).toBe('');
    expect(complaint(embed.input, { text: 'a dog' })).toBe('');
  });

  test('name the mistake and what was meant', () => {
    expect(complaint(caption.input, { image: 'a.jpg', numbeams: 5 })).toContain('Did you mean "numBeams"?');
    expect(complaint(caption.input, { image: 'a.jpg', numBeams: 0 })).toContain('/numBeams');
    expect(complaint(caption.input, 7)).toContain('expected an object or string');
    expect(complaint(match.input, { image: 'a.jpg' })).toContain('"text" is missing');
    expect(complaint(match.input, 'a.jpg')).toContain('expected an object');
  });
});

test('each task has a name, schemas and what it requires', () => {
  expect(taskPlugins.map(({ name }) => name)).toEqual(['caption', 'match', 'embed']);
  for (const task of taskPlugins) expect(task.requires?.length).toBeGreaterThan(0);
});
