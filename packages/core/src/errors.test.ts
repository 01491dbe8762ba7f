import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { ERROR_CODES, QuerentError, errorsMarkdown, isQuerentError } from './index.ts';

it('an error is recognised by its mark, also one of another copy of this package', () => {
  const error = new QuerentError('QRT_USAGE', 'no', { fix: 'yes', details: { a: 1 }, cause: 'c' });
  expect(error).toMatchObject({ code: 'QRT_USAGE', message: 'no', fix: 'yes', details: { a: 1 }, cause: 'c' });
  expect(isQuerentError(error)).toBe(true);
  expect(isQuerentError({ [Symbol.for('querent.error')]: true })).toBe(true);
  expect(isQuerentError(new Error('QRT_USAGE'))).toBe(false);
  expect(isQuerentError(null)).toBe(false);
});

it('docs/errors.md is what the catalogue says', async () => {
  const page = await readFile(new URL('../../../docs/errors.md', import.meta.url), 'utf8');
  expect(page).toBe(errorsMarkdown());
  for (const code of Object.keys(ERROR_CODES)) expect(page).toContain(code);
});
