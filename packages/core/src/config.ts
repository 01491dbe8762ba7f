/**
 * Documents that people write: read with a size limit, checked against a JSON Schema by ajv, refused with every mistake at
 * once: the file, the place in it (a JSON pointer), what is there, what was expected, and what was probably meant.
 */
import { readFile, stat } from 'node:fs/promises';
import { Ajv } from 'ajv';
import type { ErrorObject, ValidateFunction } from 'ajv';
import type { JsonSchema } from './contracts/plugin.ts';
import { QuerentError } from './errors.ts';
import { nearest } from './nearest.ts';

// Foreign keywords (an editor's `markdownDescription`) are no mistake of the person who writes a config.
const ajv = new Ajv({ allErrors: true, verbose: true, strict: false, allowUnionTypes: true, validateFormats: false });

const compiled = new WeakMap<JsonSchema, ValidateFunction>();

/** Largest JSON document read unless another limit is named: a tokenizer's vocabulary fits with room to spare. */
export const MAX_JSON_BYTES: number = 64 * 1024 * 1024;

/** Mistakes shown in a message; `details` has all of them. */
const SHOWN = 20;

/** Where a checked value comes from. */
export interface ValidateOptions {
  /** The file it was read from; stands in front of the message. */
  readonly file?: string;
  /** What it is, for people: `the recipe`, `vision_config`, … Default `the value`. */
  readonly what?: string;
  /** Where the value stands within the file, as a JSON pointer: `/vision_config`. Default the root. */
  readonly at?: string;
}

/** One mistake in a document. */
export interface ConfigMistake {
  /** JSON pointer; the empty string is the document itself. */
  readonly pointer: string;
  readonly message: string;
  /** What stands there. */
  readonly value: unknown;
  /** The key or value that was probably meant. */
  readonly suggestion?: string;
}

/**
 * Compiles a schema, once.
 *
 * @throws QuerentError QRT_PLUGIN_INVALID when it is not a JSON Schema.
 */
export function compileSchema(schema: JsonSchema): ValidateFunction {
  let validator = compiled.get(schema);
  if (validator === undefined) {
    try {
      // A schema with an $id may be compiled in two copies (two installs of a plugin): each has ajv's cache to itself.
      validator = ajv.compile('$id' in schema ? { ...schema, $id: undefined } : schema);
    } catch (error) {
      throw new QuerentError('QRT_PLUGIN_INVALID', `A schema does not compile: ${error instanceof Error ? error.message : String(error)}.`, {
        fix: 'Write it as JSON Schema draft-07.',
        cause: error,
      });
    }
    compiled.set(schema, validator);
  }
  return validator;
}

/** All mistakes of `value`; none when it fits. @throws QuerentError QRT_PLUGIN_INVALID when the schema does not compile. */
export function findMistakes(schema: JsonSchema, value: unknown, at = ''): ConfigMistake[] {
  const validator = compileSchema(schema);
  if (validator(value) === true) return [];
  const errors = validator.errors ?? [];
  // What a branch of anyOf/oneOf lacked is noise beside "none of the forms" unless there is nothing else at that place.
  const choices = errors.filter((error) => error.keyword === 'anyOf' || error.keyword === 'oneOf');
  const told = errors.filter((error) => !choices.some((choice) => error !== choice && error.schemaPath.startsWith(`${choice.schemaPath}/`)));
  const seen = new Set<string>();
  return told
    .filter((error) => error.keyword !== 'if')
    .map((error) => mistake(error, at))
    .filter((one) => !seen.has(one.pointer + one.message) && seen.add(one.pointer + one.message));
}

/**
 * Checks a value from outside and gives it back as `T`, the type that stands beside the schema.
 *
 * @throws QuerentError QRT_CONFIG_INVALID with all mistakes at once; `details.mistakes` has them as {@link ConfigMistake}s.
 */
export function validate<T>(schema: JsonSchema, value: unknown, options: ValidateOptions = {}): T {
  const mistakes = findMistakes(schema, value, options.at);
  if (mistakes.length === 0) return value as T; // the schema was just checked, and T is its type
  const { file, what = 'the value' } = options;
  const lines = mistakes.slice(0, SHOWN).map(({ pointer, message }) => `  ${pointer === '' ? '(root)' : pointer}  ${message}`);
  if (mistakes.length > SHOWN) lines.push(`  … and ${mistakes.length - SHOWN} more`);
  const head = `${file === undefined ? '' : `${file}: `}${what} has ${mistakes.length === 1 ? 'a mistake' : `${mistakes.length} mistakes`}:`;
  throw new QuerentError('QRT_CONFIG_INVALID', `${head}\n${lines.join('\n')}`, {
    fix: `Mend ${mistakes.length === 1 ? 'it' : 'them'}${file === undefined ? '' : ` in ${file}`} and try again.`,
    details: { file, what, mistakes },
  });
}

function mistake(error: ErrorObject, at: string): ConfigMistake {
  const pointer = cut(at + error.instancePath, 500);
  const value: unknown = error.data;
  const params = error.params as Readonly<Record<string, unknown>>; // ajv's params: one shape a keyword
  const say = (message: string, suggestion?: string): ConfigMistake => ({
    pointer,
    message: suggestion === undefined ? message : `${message}. Did you mean ${JSON.stringify(suggestion)}?`,
    value,
    ...(suggestion === undefined ? {} : { suggestion }),
  });
  switch (error.keyword) {
    case 'additionalProperties':
    case 'unevaluatedProperties': {
      const key = String(params['additionalProperty'] ?? params['unevaluatedProperty']);
      const known = Object.keys((error.parentSchema?.['properties'] ?? {}) as object);
      const near = nearest(key, known);
      const there = (value as Readonly<Record<string, unknown>>)[key]; // only objects have additional properties
      const rest = near !== undefined || known.length === 0 || known.length > 12 ? '' : `; known are ${known.join(', ')}`;
      return {
        pointer: `${pointer}/${escapePointer(key)}`,
        message: `unknown key ${JSON.stringify(cut(key, 60))}${near === undefined ? rest : `. Did you mean ${JSON.stringify(near)}?`}`,
        value: there,
        ...(near === undefined ? {} : { suggestion: near }),
      };
    }
    case 'required':
      return say(`${JSON.stringify(params['missingProperty'])} is missing${describeProperty(error, String(params['missingProperty']))}`);
    case 'type': {
      const types = ([] as unknown[]).concat(params['type']).join(' or ');
      return say(`is ${show(value)}, expected ${/^[aeiou]/.test(types) ? 'an' : 'a'} ${types}`);
    }
    case 'enum': {
      const allowed = params['allowedValues'] as readonly unknown[];
      const near = typeof value === 'string' ? nearest(value, allowed.filter((one) => typeof one === 'string')) : undefined;
      return say(`is ${show(value)}, expected one of ${allowed.map((one) => JSON.stringify(one)).join(', ')}`, near);
    }
    case 'const':
      return say(`is ${show(value)}, expected ${JSON.stringify(params['allowedValue'])}`);
    case 'pattern':
      return say(`is ${show(value)}, expected text like /${String(params['pattern'])}/`);
    case 'anyOf':
    case 'oneOf':
      return say(`is ${show(value)}, expected ${describeChoices(error)}`);
    case 'false schema':
      return say('is not allowed here');
    default:
      return say(`is ${show(value)}, but it ${error.message ?? 'does not fit'}`);
  }
}

/** `: what the schema says of it`, where it says something. */
function describeProperty(error: ErrorObject, key: string): string {
  const properties = error.parentSchema?.['properties'] as Readonly<Record<string, { description?: unknown }>> | undefined;
  const description = properties?.[key]?.description;
  return typeof description === 'string' ? `: ${description.replace(/\.$/, '')}` : '';
}

/** `a string or an array`: the branches of a choice, by their type, title or constant. */
function describeChoices(error: ErrorObject): string {
  const branches = error.schema as readonly Readonly<Record<string, unknown>>[]; // anyOf and oneOf hold an array of schemas
  const names = branches.map((branch) => {
    if (typeof branch['title'] === 'string') return branch['title'];
    if ('const' in branch) return JSON.stringify(branch['const']);
    if (Array.isArray(branch['enum'])) return branch['enum'].map((one) => JSON.stringify(one)).join(', ');
    return typeof branch['type'] === 'string' ? branch['type'] : 'another form';
  });
  return [...new Set(names)].join(' or ');
}

/** A value in a few words. Lists and objects are not written out: they may be large, or nested without end. */
function show(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null) {
    const keys = Object.keys(value);
    return keys.length === 0 ? 'an empty object' : `an object with ${keys.slice(0, 4).map((key) => cut(key, 30)).join(', ')}${keys.length > 4 ? ', …' : ''}`;
  }
  return typeof value === 'string' ? JSON.stringify(cut(value, 60)) : String(value);
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

function escapePointer(key: string): string {
  return key.replace(/~/g, '~0').replace(/\//g, '~1');
}

export interface ReadJsonOptions {
  /** Default {@link MAX_JSON_BYTES}. */
  readonly maxBytes?: number;
}

/**
 * Reads a JSON document.
 *
 * @throws QuerentError QRT_CONFIG_UNREADABLE when there is no such file, it is larger than the limit, or it is not JSON; then
 *   with line and column.
 */
export async function readJson(file: string, options: ReadJsonOptions = {}): Promise<unknown> {
  const maxBytes = options.maxBytes ?? MAX_JSON_BYTES;
  let text: string;
  try {
    const { size, isFile } = await stat(file).then((stats) => ({ size: stats.size, isFile: stats.isFile() }));
    if (!isFile) throw new Error('it is not a regular file');
    if (size > maxBytes) throw new Error(`it has ${size} bytes, and a JSON document may have ${maxBytes}`);
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new QuerentError('QRT_CONFIG_UNREADABLE', `${file} cannot be read: ${reason(error)}.`, {
      fix: 'Is the path right, and may this user read it?',
      details: { file },
      cause: error,
    });
  }
  return parseJson(text, file);
}

/** Parses JSON text; `file` only stands in the message. @throws QuerentError QRT_CONFIG_UNREADABLE with line and column. */
export function parseJson(text: string, file = 'The text'): unknown {
  const json = text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  try {
    return JSON.parse(json) as unknown;
  } catch (error) {
    const offset = badOffset(json, error);
    const before = json.slice(0, offset).split('\n');
    const line = before.length;
    const column = (before.at(-1)?.length ?? 0) + 1;
    const there = json.slice(offset, offset + 20).split('\n')[0] ?? '';
    const found = offset >= json.length ? 'it ends there' : `found ${JSON.stringify(there)}`;
    throw new QuerentError('QRT_CONFIG_UNREADABLE', `${file}:${line}:${column} is not JSON: ${found}.`, {
      fix: 'JSON has no comments, no trailing commas, and double quotes around every key.',
      details: { file, line, column },
      cause: error,
    });
  }
}

/** V8 names the position in its message, except where the text just ends or is short. */
function badOffset(json: string, error: unknown): number {
  const message = error instanceof Error ? error.message : '';
  const position = /at position (\d+)/.exec(message)?.[1];
  if (position !== undefined) return Number(position);
  // Short texts are quoted whole, without a position: the token named is the first of its kind that cannot stand there.
  const token = /Unexpected token '?(.+?)'?, /su.exec(message)?.[1];
  if (token === undefined) return json.length;
  for (let at = json.indexOf(token); at >= 0; at = json.indexOf(token, at + 1)) {
    if (endsTooSoon(json.slice(0, at)) && !endsTooSoon(json.slice(0, at + token.length))) return at;
  }
  return json.length;
}

/** Is this the beginning of a JSON text, good as far as it goes? */
function endsTooSoon(json: string): boolean {
  try {
    JSON.parse(json);
    return true;
  } catch (error) {
    return error instanceof Error && /Unexpected end|Unterminated|end of (JSON|data)/i.test(error.message);
  }
}

function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES') return 'permission is denied';
  return error instanceof Error ? error.message : String(error);
}
