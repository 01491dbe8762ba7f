import { float32, zeros } from '@querent/core';
import { expect, test } from 'vitest';
import { matchParameters } from './checkpoint.ts';

const shapes = (entries: Record<string, number[]>): Map<string, { shape: number[] }> =>
  new Map(Object.entries(entries).map(([name, shape]) => [name, { shape }]));
const tensors = (entries: Record<string, number[]>) => new Map(Object.entries(entries).map(([name, shape]) => [name, zeros('float32', shape)]));

test('finds parameters by identity, under a prefix when asked', () => {
  const w = float32([2], [1, 2]);
  const { parameters, extra } = matchParameters(shapes({ 'a.weight': [2] }), new Map([['vision.a.weight', w], ['text.b', w]]), { file: 'm', prefix: 'vision.' });
  expect(parameters.get('a.weight')).toBe(w);
  expect(extra).toEqual([]);
});

test('extra tensors are listed, known redundant ones are not', () => {
  const { extra } = matchParameters(
    shapes({ 'a.weight': [2] }),
    tensors({ 'a.weight': [2], 'b.weight': [1], 'embeddings.position_ids': [1, 4], 'rotary.inv_freq': [2], 'lm_head.weight': [2] }),
    { file: 'm' },
  );
  expect(extra).toEqual(['b.weight']);
});

test('all that is missing or misshaped is told at once, with near names', () => {
  const run = (): unknown =>
    matchParameters(
      shapes({ 'vision.patch_embedding.weight': [768, 3, 14, 14], 'encoder.layer.0.query.weight': [4, 4], 'c.weight': [1], d: [1], e: [1], f: [1] }),
      tensors({ 'vision.patch_embedding.weight': [1024, 3, 14, 14], 'encoder.layers.0.query.weight': [4, 4] }),
      { file: 'models/mine/model.safetensors' },
    );
  expect(run).toThrow(
    expect.objectContaining({
      code: 'QRT_CHECKPOINT_MISMATCH',
      details: {
        file: 'models/mine/model.safetensors',
        missing: ['encoder.layer.0.query.weight', 'c.weight', 'd', 'e', 'f'],
        misshaped: [{ name: 'vision.patch_embedding.weight', expected: [768, 3, 14, 14], found: [1024, 3, 14, 14] }],
      },
    }),
  );
  expect(run).toThrow(/patch_embedding\.weight is \[1024, 3, 14, 14\]; the config asks for \[768, 3, 14, 14\]/);
  expect(run).toThrow(/layer\.0\.query\.weight is missing \(the file has encoder\.layers\.0\.query\.weight\)/);
  expect(run).toThrow(/2 more tensors are missing/);
});
