/** JSON documents on disk: bounded, checked to be objects, with errors that name the file. */
import { readFile, stat } from 'node:fs/promises';
import { QuerentError } from '@querent/core';
import { errnoOf, fileError } from './file-error.ts';

/** An object read from JSON, of which nothing is known yet. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** No config, index or tokenizer is larger. */
const LIMIT_BYTES = 256 * 1024 * 1024;

/** Is it an object, not null and not an array? */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Reads a JSON object.
 * @throws QuerentError QRT_FILE when it cannot be read, QRT_CONFIG_UNREADABLE when it is no JSON object or larger than 256 MiB.
 */
export async function readJsonObject(file: string): Promise<JsonObject> {
  let text: string;
  try {
    const { size } = await stat(file);
    if (size > LIMIT_BYTES) throw unreadable(file, `it has ${size} bytes, at most ${LIMIT_BYTES} are read`);
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw errnoOf(cause) === undefined || cause instanceof QuerentError ? cause : fileError('read', file, cause);
  }
  let value: unknown;
  try {
    value = JSON.parse(text.startsWith('\uFEFF') ? text.slice(1) : text);
  } catch (cause) {
    throw unreadable(file, cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (!isJsonObject(value)) throw unreadable(file, 'an object was expected at its top');
  return value;
}

/** {@link readJsonObject}, or undefined where there is no such file. */
export async function readJsonObjectIfThere(file: string): Promise<JsonObject | undefined> {
  try {
    await stat(file);
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    throw fileError('read', file, cause);
  }
  return readJsonObject(file);
}

function unreadable(file: string, what: string, cause?: unknown): QuerentError {
  return new QuerentError('QRT_CONFIG_UNREADABLE', `${file} is not readable as JSON: ${what}.`, {
    fix: 'Open it in an editor, mend it, or copy it again from its source.',
    details: { file },
    cause,
  });
}
