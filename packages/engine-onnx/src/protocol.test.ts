import { QuerentError, isQuerentError } from '@querent/core';
import { expect, test } from 'vitest';
import { packError, unpackError } from './protocol.ts';

const cross = (error: unknown): unknown => unpackError(structuredClone(packError(error)));

test('a QuerentError crosses threads whole', () => {
  const cause = new QuerentError('QRT_FILE', 'inner', { fix: 'look there' });
  const error = cross(new QuerentError('QRT_ENGINE_RUN', 'outer', { fix: 'do this', details: { at: [1, 2] }, cause }));
  expect(isQuerentError(error)).toBe(true);
  expect(error).toMatchObject({ code: 'QRT_ENGINE_RUN', message: 'outer', fix: 'do this', details: { at: [1, 2] } });
  expect(error).toMatchObject({ cause: { code: 'QRT_FILE', message: 'inner', fix: 'look there' } });
});

test('other errors keep name, message and code; unknown codes make no QuerentError', () => {
  const error = cross(Object.assign(new RangeError('far'), { code: 'QRT_NOT_A_CODE' }));
  expect(error).toMatchObject({ name: 'RangeError', message: 'far', code: 'QRT_NOT_A_CODE' });
  expect(isQuerentError(error)).toBe(false);
});

test('what cannot be cloned is printed, what is no error comes out as it was, and endless causes end', () => {
  expect(cross(new QuerentError('QRT_USAGE', 'x', { details: () => 1 }))).toMatchObject({ details: '() => 1' });
  expect(cross('just a string')).toBe('just a string');
  expect(cross({ plain: true })).toEqual({ plain: true });
  const loop = new Error('loop');
  loop.cause = loop;
  expect(cross(loop)).toMatchObject({ message: 'loop', cause: { message: 'loop' } });
});
