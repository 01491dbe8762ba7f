/** An error as a person reads it: code and place on one line, then what happened and the way out; no stack unless asked for. */
import { isQuerentError } from '@querent/core';

/** Mistakes of the person at the keyboard; everything else is a failure. */
const USAGE_CODES: ReadonlySet<string> = new Set(['QRT_USAGE', 'QRT_CONFIG_INVALID', 'QRT_CONFIG_UNREADABLE', 'QRT_PLUGIN_UNKNOWN']);

/** 2 for usage, 1 for failure. */
export function exitCodeOf(error: unknown): 1 | 2 {
  return isQuerentError(error) && USAGE_CODES.has(error.code) ? 2 : 1;
}

/** Where it happened, when the error says so. */
function placeOf(details: unknown): string | undefined {
  if (typeof details !== 'object' || details === null) return undefined;
  for (const key of ['file', 'path', 'folder', 'source']) {
    const value: unknown = Reflect.get(details, key);
    if (typeof value === 'string' && value !== '') return value;
  }
  return undefined;
}

/** The paragraph for stderr, with a line break at its end. */
export function describeError(error: unknown, options: { readonly debug?: boolean } = {}): string {
  const coded = isQuerentError(error) ? error : undefined;
  const whole = error instanceof Error ? error.message : String(error);
  const place = coded === undefined ? undefined : placeOf(coded.details);
  const message = place !== undefined && whole.startsWith(`${place}: `) ? whole.slice(place.length + 2) : whole; // said once is enough
  const head = coded === undefined ? 'error' : `error ${coded.code}${place === undefined ? '' : `  ${place}`}`;
  const body = coded === undefined ? [message, 'This was not expected. `--debug` shows where it happened.'] : [message, coded.fix];
  const lines = body.filter((part): part is string => part !== undefined && part !== '').join(' ').split('\n');
  const stack = options.debug === true && error instanceof Error ? `${stackOf(error)}\n` : '';
  return `${head}\n${lines.map((line) => `  ${line.trimEnd()}`).join('\n')}\n${stack}`;
}

function stackOf(error: Error): string {
  const own = error.stack ?? error.message;
  return error.cause instanceof Error ? `${own}\ncaused by ${stackOf(error.cause)}` : own;
}

/** One line for one item that failed while the others go on. */
export function describeItemError(error: unknown): string {
  const message = (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ').trim();
  return isQuerentError(error) ? `${error.code}  ${message}${error.fix === undefined ? '' : ` ${error.fix}`}` : message;
}

/** The same for `--json`. */
export function errorJson(error: unknown): { readonly code: string; readonly message: string; readonly fix?: string } {
  const message = error instanceof Error ? error.message : String(error);
  if (!isQuerentError(error)) return { code: 'UNEXPECTED', message };
  return { code: error.code, message, ...(error.fix === undefined ? {} : { fix: error.fix }) };
}
