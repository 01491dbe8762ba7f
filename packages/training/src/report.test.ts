import { expect, it } from 'vitest';
import type { HistoryPoint } from './checkpoint.ts';
import { reportHtml } from './report.ts';

function history(steps: number): HistoryPoint[] {
  return Array.from({ length: steps }, (_, i) => ({ step: i + 1, learningRate: 1e-3, gradientNorm: 1, losses: { loss: 3 / (i + 1), loss_itc: 1 } }));
}

it('is one file without scripts or anything from outside', () => {
  const html = reportHtml({ kind: 'stage1', seed: 1 }, history(50));
  expect(html).not.toMatch(/<script|src=|href=|url\(|@import|https?:/i);
  for (const name of ['loss', 'loss_itc', 'learning rate', 'gradient norm']) expect(html).toContain(`aria-label="${name} over steps"`);
  expect(html).toContain('&quot;kind&quot;: &quot;stage1&quot;');
});

it('writes markup of a recipe as text', () => {
  expect(reportHtml({ prompt: '<img src=x onerror=alert(1)>' }, history(2))).not.toContain('<img');
});

it('draws long runs and those with gaps', () => {
  const html = reportHtml({}, [...history(150_000), { step: 150_001, learningRate: 1, gradientNorm: Number.NaN, losses: { loss: Number.NaN } }]);
  expect(html.length).toBeLessThan(200_000);
  expect(html).not.toContain('NaN');
  expect(reportHtml({}, [])).toContain('0 steps');
});
