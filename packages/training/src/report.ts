/** A run's curves as one HTML file without scripts or outside files: losses, learning rate and gradient norm over steps. */
import type { HistoryPoint } from './checkpoint.ts';

const WIDTH = 860;
const HEIGHT = 220;
const MARGIN = 56;

/** The report of a run: its recipe and one chart a quantity. */
export function reportHtml(recipe: object, history: readonly HistoryPoint[]): string {
  const names = [...new Set(history.flatMap((point) => Object.keys(point.losses)))];
  const charts = [
    ...names.map((name) => chart(name, history.map((point) => [point.step, point.losses[name] ?? Number.NaN]))),
    chart('learning rate', history.map((point) => [point.step, point.learningRate])),
    chart('gradient norm', history.map((point) => [point.step, point.gradientNorm])),
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Training report</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 900px; margin: 2rem auto; padding: 0 1rem; color: #1c2430; background: #fff; }
  h2 { font-size: 1rem; margin: 1.6rem 0 .2rem; } svg { width: 100%; height: auto; } text { font-size: 11px; fill: #5a6675; }
  .raw { stroke: #c9d6ea; fill: none; } .smooth { stroke: #1f5fbf; fill: none; stroke-width: 1.8; } .axis { stroke: #d5dbe3; }
  pre { background: #f4f6f9; padding: 1rem; overflow: auto; font-size: 12px; }
  @media (prefers-color-scheme: dark) { body { background: #12161c; color: #dfe6ee; } pre { background: #1b2129; } .raw { stroke: #34455f; } .smooth { stroke: #7fb0ff; } }
</style></head><body>
<h1>Training report</h1>
<p>${history.length} steps. The pale line is each step, the dark one its running mean.</p>
${charts.join('\n')}
<h2>Recipe</h2>
<pre>${escapeHtml(JSON.stringify(recipe, null, 2))}</pre>
</body></html>
`;
}

type Point = readonly [step: number, value: number];

function chart(name: string, all: readonly Point[]): string {
  const points = all.filter(([, value]) => Number.isFinite(value));
  if (points.length === 0) return '';
  const smooth = runningMean(points, Math.max(1, Math.round(points.length / 60)));
  const values = smooth.map(([, value]) => value);
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  const last = points.at(-1)![0];
  const x = (step: number): number => MARGIN + ((WIDTH - MARGIN - 10) * step) / last;
  const y = (value: number): number => HEIGHT - 24 - ((HEIGHT - 40) * (Math.min(Math.max(value, low), high) - low)) / (high - low || 1);
  const path = (line: readonly Point[]): string => line.map(([step, value], i) => `${i === 0 ? 'M' : 'L'}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join('');
  return `<h2>${escapeHtml(name)}: ${format(values.at(-1)!)} at the end</h2>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(name)} over steps">
<path class="axis" d="M${MARGIN} 8V${HEIGHT - 24}H${WIDTH - 10}" fill="none"/>
<path class="raw" d="${path(thin(points, 800))}"/><path class="smooth" d="${path(thin(smooth, 400))}"/>
<text x="4" y="20">${format(high)}</text><text x="4" y="${HEIGHT - 26}">${format(low)}</text>
<text x="${WIDTH - 10}" y="${HEIGHT - 6}" text-anchor="end">${last} steps</text></svg>`;
}

function runningMean(points: readonly Point[], window: number): Point[] {
  let sum = 0;
  return points.map(([step, value], i) => {
    sum += value - (i >= window ? points[i - window]![1] : 0);
    return [step, sum / Math.min(i + 1, window)] as const;
  });
}

function thin(points: readonly Point[], most: number): readonly Point[] {
  const stride = Math.ceil(points.length / most);
  return points.filter((_, i) => i % stride === 0 || i === points.length - 1);
}

function format(value: number): string {
  return Math.abs(value) >= 0.01 ? value.toFixed(3) : value.toExponential(2);
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
