import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GOLDENS, writeTinyModel } from '../test/tiny-models.ts';
import { precisionReport } from './precision-report.ts';

let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'querent-report-'));
  await writeTinyModel(root, 'llama');
});
afterAll(() => rm(root, { recursive: true, force: true }));

test('each precision has its size, its perplexity and its distance from float32', async () => {
  const figures = await precisionReport(join(root, 'llama'), { texts: ['a brown dog is running through the snow', 'a'], threads: 1 });
  expect(figures.map(({ precision }) => precision)).toEqual(['fp32', 'fp16', 'int8', 'int4']);
  const [exact, half, eight, four] = figures;
  expect(exact).toMatchObject({ logitError: 0, divergence: 0, agreement: 1 });
  expect(half!.weightBytes).toBeLessThan(exact!.weightBytes);
  expect(four!.weightBytes).toBeLessThan(eight!.weightBytes);
  for (const { perplexity, logitError, divergence, agreement } of figures) {
    expect(perplexity).toBeGreaterThan(1);
    expect(Number.isFinite(perplexity + logitError + divergence)).toBe(true);
    expect(agreement).toBeLessThanOrEqual(1);
  }
  expect(half!.logitError).toBeLessThan(eight!.logitError);
  expect(eight!.logitError).toBeLessThan(four!.logitError);
});

test('only what is asked for is reported, and what cannot be measured is refused', async () => {
  const [only, ...others] = await precisionReport(join(root, 'llama'), { precisions: ['int8'], threads: 1 });
  expect(others).toEqual([]);
  expect(only?.precision).toBe('int8');
  expect(only?.logitError).toBeGreaterThan(0);
  await expect(precisionReport(join(root, 'llama'), { texts: [''], threads: 1 })).rejects.toMatchObject({ code: 'QRT_USAGE' });
  await expect(precisionReport(join(GOLDENS, 'llm-llama'), { threads: 1 })).rejects.toMatchObject({ code: 'QRT_TOKENIZER' });
});
