import { isQuerentError, validate } from '@querent/core';
import type { TensorData } from '@querent/core';
import { describe, expect, test } from 'vitest';
import { attend, caption, chat, embed, instruct, match, plainPrompt, ranking, similarities, stack, taskPlugins, unstack, vqa, vqaPrompt } from './index.ts';
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
    expect(complaint(vqa.input, { image: 'a.jpg', question: 'What?', prompt: 'Q: {} A:', candidates: ['a', 'b'], numBeams: 1 })).toBe('');
    expect(complaint(instruct.input, { image: 'a.jpg', instruction: 'Describe it.', topP: 0.9, doSample: true })).toBe('');
    expect(complaint(chat.input, { images: ['a.jpg', new Uint8Array(1)], messages: [{ role: 'user', content: 'Hello' }] })).toBe('');
    for (const good of ['a.jpg', { image: 'a.jpg', text: 'a dog', perQuery: true }]) expect(complaint(attend.input, good)).toBe('');
  });

  test('name the mistake and what was meant', () => {
    expect(complaint(caption.input, { image: 'a.jpg', numbeams: 5 })).toContain('Did you mean "numBeams"?');
    expect(complaint(caption.input, { image: 'a.jpg', numBeams: 0 })).toContain('/numBeams');
    expect(complaint(caption.input, 7)).toContain('expected an object or string');
    expect(complaint(match.input, { image: 'a.jpg' })).toContain('"text" is missing');
    expect(complaint(match.input, 'a.jpg')).toContain('expected an object');
    expect(complaint(vqa.input, { image: 'a.jpg', question: 'What?', canditates: [] })).toContain('Did you mean "candidates"?');
    expect(complaint(vqa.input, { image: 'a.jpg', question: 'What?', prompt: 'no place' })).toContain('/prompt');
    expect(complaint(chat.input, { image: 'a.jpg', messages: [{ role: 'robot', content: '' }] })).toContain('/messages/0/role');
    expect(complaint(instruct.input, { image: 'a.jpg' })).toContain('"instruction" is missing');
  });
});

test('each task has a name, schemas and what it requires', () => {
  expect(taskPlugins.map(({ name }) => name)).toEqual(expect.arrayContaining(['caption', 'vqa', 'instruct', 'chat', 'match', 'embed', 'attend', 'retrieve']));
  for (const task of taskPlugins) expect(task.requires?.length).toBeGreaterThan(0);
});

test('a question stands in the prompt of its family, of its model, or of the call', () => {
  expect(vqaPrompt('Why?', { architecture: 'decoder-only' })).toBe('Question: Why? Answer:');
  expect(vqaPrompt('Why?', { architecture: 'encoder-decoder' })).toBe('Question: Why? Short answer:');
  expect(vqaPrompt('Why?', { architecture: 'decoder-only', prompts: { vqa: '{}' } })).toBe('Why?');
  expect(vqaPrompt('$& {} ?', { prompts: { vqa: 'Q {} A' } }, '<{}>')).toBe('<$& {} ?>');
});

test('a talk without a template is questions and answers', () => {
  const talk = [
    { role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Which city is this?' }, { role: 'assistant', content: 'singapore' }, { role: 'user', content: ' Why? ' },
  ] as const;
  expect(plainPrompt(talk)).toBe('Be brief. Question: Which city is this? Answer: singapore. Question: Why? Answer:');
});

test('candidates are ranked by their log-probability, and share theirs', () => {
  const texts = ranking(['a', 'b', 'c'], Float32Array.from([-2, -1, -2]));
  expect(texts.map(({ text }) => text)).toEqual(['b', 'a', 'c']);
  expect(texts.reduce((sum, { probability }) => sum + probability, 0)).toBeCloseTo(1, 10);
  expect(texts[0]!.probability / texts[1]!.probability).toBeCloseTo(Math.E, 5);
  expect(ranking(['a', 'b'], Float32Array.from([-1000, -1001]))[0]!.probability).toBeCloseTo(1 / (1 + Math.exp(-1)), 5);
});
