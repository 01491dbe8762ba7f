/**
 * Options from the JSON Schema of a task's input. Each property is an option: a boolean a switch, a text its words, anything else
 * JSON. One property is what stands without an option: the first required text, or `image`. A text with a `contentMediaType`
 * (`text/html`) is the contents of the file that is named, `-` for standard input; `base` then is the folder of that file.
 */
import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { QuerentError } from '@querent/core';
import type { JsonSchema } from '@querent/core';
import type { ArgsDef } from 'citty';

/** Largest file that is read into an input. */
const MAX_BYTES = 64 * 1024 * 1024;

export interface InputArgs {
  readonly args: ArgsDef;
  /** The property that is given without an option. */
  readonly positional: string | undefined;
  /**
   * The input that a command line asks for; the task's schema checks it afterwards.
   *
   * @throws QuerentError QRT_USAGE for a value that is not of its kind, QRT_FILE for a file that cannot be read.
   */
  read(values: Readonly<Record<string, unknown>>, positional: string | undefined): Promise<Record<string, unknown>>;
}

export function inputArgs(schema: JsonSchema): InputArgs {
  const properties = Object.entries(objectOf(schema['properties'])).map(([name, value]) => ({ name, schema: objectOf(value) }));
  const required = new Set(Array.isArray(schema['required']) ? schema['required'].map(String) : []);
  const positional = properties.find(({ name, schema: one }) => name === 'image' || (required.has(name) && one['type'] === 'string'));
  const isFile = (one: JsonSchema): boolean => typeof one['contentMediaType'] === 'string';
  const hasBase = properties.some(({ name }) => name === 'base');
  const args: ArgsDef = Object.fromEntries(
    properties.map(({ name, schema: one }) => {
      const description = describe(one, isFile(one));
      return [name, one['type'] === 'boolean' ? { type: 'boolean', description } : { type: 'string', description, valueHint: isFile(one) ? 'FILE' : hintOf(one) }];
    }),
  );
  return {
    args,
    positional: positional?.name,
    async read(values, word) {
      const input: Record<string, unknown> = {};
      for (const { name, schema: one } of properties) {
        const given = name === positional?.name && word !== undefined ? word : values[name];
        if (given === undefined || (one['type'] === 'boolean' && given === false)) continue;
        if (typeof given !== 'string') {
          input[name] = given;
          continue;
        }
        input[name] = isFile(one) ? await contents(name, given) : valueOf(name, given, one);
        if (isFile(one) && hasBase && values['base'] === undefined && given !== '-') input['base'] = dirname(given);
      }
      return input;
    },
  };
}

function objectOf(value: unknown): JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value)) : {};
}

function describe(schema: JsonSchema, isFile: boolean): string {
  const said = typeof schema['description'] === 'string' ? schema['description'] : '';
  const choices = Array.isArray(schema['enum']) ? `One of ${schema['enum'].map(String).join(', ')}.` : '';
  const usual = schema['default'] === undefined ? '' : `Default ${JSON.stringify(schema['default'])}.`;
  return [said, choices, usual, isFile ? 'Read from this file; - is standard input.' : ''].filter((part) => part !== '').join(' ');
}

function hintOf(schema: JsonSchema): string {
  const hints: Readonly<Record<string, string>> = { integer: 'N', number: 'X', string: 'TEXT' };
  return typeof schema['type'] === 'string' ? (hints[schema['type']] ?? 'JSON') : 'VALUE';
}

async function contents(name: string, file: string): Promise<string> {
  if (file === '-') return readAll(process.stdin);
  try {
    const found = await stat(file);
    if (found.isFile() && found.size <= MAX_BYTES) return await readFile(file, 'utf8');
    throw new QuerentError('QRT_FILE', `${name}: ${file} is ${found.isFile() ? `${found.size} bytes long; at most ${MAX_BYTES} are read` : 'no file'}.`);
  } catch (cause) {
    if (cause instanceof QuerentError) throw cause;
    throw new QuerentError('QRT_FILE', `${name}: ${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`, { fix: 'Name a file that is there, or - for standard input.', cause });
  }
}

/** Words as they are where the schema says text, or says nothing of the kind and they are no JSON. */
function valueOf(key: string, text: string, schema: JsonSchema): unknown {
  const { type } = schema;
  if (type === 'string' || (type === undefined && schema['enum'] === undefined)) return text;
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (type === undefined || (Array.isArray(type) && type.includes('string'))) return text;
    throw new QuerentError('QRT_USAGE', `--${key} is ${JSON.stringify(text)}; ${String(type)} was expected.`, { fix: type === 'array' || type === 'object' ? `Write it as JSON: --${key} '${type === 'array' ? '["a", "b"]' : '{"a": 1}'}'.` : 'See --help.', cause });
  }
}
