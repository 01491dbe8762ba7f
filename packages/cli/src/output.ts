/** stdout for results, stderr for everything else; a progress line only where somebody watches. */

import type { LoadProgress } from 'querent';

/** One line of results. */
export function printLine(line: string): void {
  progressLine.clear();
  process.stdout.write(`${line}\n`);
}

/** A piece of a line of results, while it is being written. */
export function printPart(text: string): void {
  progressLine.clear();
  process.stdout.write(text);
}

export function printJson(value: unknown): void {
  printLine(JSON.stringify(value));
}

/** One line for people on stderr. */
export function note(line: string): void {
  progressLine.clear();
  process.stderr.write(`${line}\n`);
}

/** A line that is written over, on a terminal; nothing in a pipe. */
export const progressLine = {
  isShown: false,
  isWatched: (): boolean => process.stderr.isTTY === true,
  show(line: string): void {
    if (!progressLine.isWatched()) return;
    const columns = process.stderr.columns || 80;
    process.stderr.write(`\r\x1b[2K${line.length < columns ? line : line.slice(0, columns - 1)}`);
    progressLine.isShown = true;
  },
  clear(): void {
    if (!progressLine.isShown) return;
    process.stderr.write('\r\x1b[2K');
    progressLine.isShown = false;
  },
};

/** The line of a download from the hub, gone when it is whole. */
export function showDownload({ repo, file, bytes, total }: { readonly repo: string; readonly file: string; readonly bytes: number; readonly total: number }): void {
  if (bytes >= total) progressLine.clear();
  else progressLine.show(`${repo}   ${bar(bytes, total)}   ${thousands(Math.round(bytes / 1e6))} of ${thousands(Math.round(total / 1e6))} MB   ${file}`);
}

/** The line of a first load in a precision, gone when it is done. */
export function showLoading({ what, done, total }: LoadProgress): void {
  if (done >= total) progressLine.clear();
  else progressLine.show(`${what === 'quantising' ? 'quantising weights' : 'calibrating the encoder'}   ${bar(done, total)}   ${thousands(done)} of ${what === 'quantising' ? '' : 'at most '}${thousands(total)}   kept for the next time`);
}

const BAR_WIDTH = 19;

/** `███████░░░░` */
export function bar(done: number, total: number): string {
  const full = total > 0 ? Math.round((BAR_WIDTH * Math.min(done, total)) / total) : 0;
  return '█'.repeat(full) + '░'.repeat(BAR_WIDTH - full);
}

/** `12 min left`, `40 s left`, `3.2 h left` */
export function timeLeft(seconds: number): string {
  if (!Number.isFinite(seconds)) return '';
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s left`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min left` : `${(seconds / 3600).toFixed(1)} h left`;
}

/** `3,140` */
export function thousands(value: number): string {
  return value.toLocaleString('en-US');
}
