/** What a value must be to be registered: every complaint about it at once, before anything of it runs. */
import { compileSchema } from '../config.ts';
import { CONTRACT_VERSION } from '../contracts/plugin.ts';
import type { JsonSchema, Plugin, PluginKind } from '../contracts/plugin.ts';
import { QuerentError } from '../errors.ts';
import { nearest } from '../nearest.ts';
import { PLUGIN_KINDS } from './tokens.ts';

interface Shape {
  readonly functions: readonly string[];
  readonly schemas?: readonly string[];
}

/** What each kind must have, beside kind, name and contract. */
const SHAPES: Readonly<Record<PluginKind, Shape>> = {
  engine: { functions: ['create'] },
  encoder: { functions: ['preprocess', 'width', 'patches', 'build', 'layers', 'layerOf'], schemas: ['configSchema'] },
  bridge: { functions: ['width', 'queries', 'build'], schemas: ['configSchema'] },
  'language-model': {
    functions: ['width', 'vocabulary', 'specialTokens', 'embed', 'loss', 'caches', 'prefill', 'decode'],
    schemas: ['configSchema'],
  },
  objective: { functions: ['build'] },
  task: { functions: ['run'], schemas: ['input', 'output'] },
  dataset: { functions: ['open'] },
  metric: { functions: ['evaluate'] },
  store: { functions: ['open'] },
};

/** Where a value comes from, for messages. */
export interface PluginOrigin {
  /** The package or file. */
  readonly source?: string;
  /** Which versions of @querent/core its package.json asks for. */
  readonly peer?: string;
}

export interface CheckPluginOptions extends PluginOrigin {
  /** Compile the schemas now, so that a broken one is told at once. Without, each is compiled when it is first used. Default true. */
  readonly compileSchemas?: boolean;
}

/**
 * Gives the value back as the plugin that it is.
 *
 * @throws QuerentError QRT_PLUGIN_INVALID that lists what is wrong with it.
 */
export function checkPlugin(value: unknown, { source, peer, compileSchemas = true }: CheckPluginOptions = {}): Plugin {
  const from = source === undefined ? '' : ` of ${source}`;
  if (typeof value !== 'object' || value === null) {
    throw new QuerentError('QRT_PLUGIN_INVALID', `A plugin${from} is ${value === null ? 'null' : `a ${typeof value}`}, expected an object.`, {
      fix: 'Export what defineTask, defineEncoder, … returned as the default export of the module.',
    });
  }
  const plugin = value as Readonly<Record<string, unknown>>; // read field by field below
  const { kind, name, contract } = plugin;
  const complaints: string[] = [];
  const isKind = typeof kind === 'string' && (PLUGIN_KINDS as readonly string[]).includes(kind);
  if (!isKind) {
    const near = typeof kind === 'string' ? nearest(kind, PLUGIN_KINDS) : undefined;
    complaints.push(
      `kind is ${JSON.stringify(kind)}, expected one of ${PLUGIN_KINDS.join(', ')}${near === undefined ? '' : ` (did you mean ${near}?)`}`,
    );
  }
  if (typeof name !== 'string' || !/^[\w@][\w@./+-]*$/.test(name)) {
    complaints.push(`name is ${JSON.stringify(name)}, expected letters, digits and _ - . / without blanks`);
  }
  if (contract !== CONTRACT_VERSION) {
    complaints.push(`contract is ${JSON.stringify(contract)}, this version keeps contract ${CONTRACT_VERSION}${peer === undefined ? '' : ` (its package.json asks for @querent/core ${peer})`}`);
  }
  const shape: Shape = isKind ? SHAPES[kind as PluginKind] : { functions: [] }; // isKind was tested on it
  for (const field of shape.functions) {
    if (typeof plugin[field] !== 'function') complaints.push(`${field} is ${plugin[field] === undefined ? 'missing' : typeof plugin[field]}, expected a function`);
  }
  for (const field of new Set([...(shape.schemas ?? []), 'configSchema'])) {
    const complaint = schemaComplaint(plugin[field], shape.schemas?.includes(field) === true, compileSchemas);
    if (complaint !== undefined) complaints.push(`${field} ${complaint}`);
  }
  if (complaints.length === 0) return value as Plugin; // its contract was just checked, as far as a run can see it
  throw new QuerentError(
    'QRT_PLUGIN_INVALID',
    `The ${isKind ? String(kind) : 'plugin'} ${JSON.stringify(name)}${from} does not keep its contract:\n${complaints.map((one) => `  ${one}`).join('\n')}`,
    {
      fix: contract === CONTRACT_VERSION || contract === undefined ? 'defineTask, defineEncoder, … check these fields while you type.' : 'Install a version of the plugin for this version of @querent/core.',
      details: { kind, name, contract, complaints, ...(source === undefined ? {} : { source }) },
    },
  );
}

function schemaComplaint(schema: unknown, needed: boolean, compile: boolean): string | undefined {
  if (schema === undefined) return needed ? 'is missing, expected a JSON Schema' : undefined;
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) return `is ${JSON.stringify(schema)}, expected a JSON Schema`;
  if (!compile) return undefined;
  try {
    compileSchema(schema as JsonSchema); // an object, as tested
    return undefined;
  } catch (error) {
    return `does not compile: ${error instanceof QuerentError && error.cause instanceof Error ? error.cause.message : String(error)}`;
  }
}
