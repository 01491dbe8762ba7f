/** A task of a plugin as a command: its input schema's properties become options, its first required text the positional. */
import { readFile } from 'node:fs/promises';
import { QuerentError } from '@querent/core';
import type { ArgsDef } from 'citty';
import { JSON_ARG, MODEL_ARGS } from '../command.ts';
import type { Command } from '../command.ts';
import { printJson, printLine } from '../output.ts';
import { openQuerent, querentOptions, usePlugins } from '../session.ts';

/** @throws QuerentError QRT_PLUGIN_UNKNOWN when no named plugin has a task of that name. */
export async function taskCommand(name: string, words: readonly string[]): Promise<Command> {
  usePlugins(words.flatMap((word, i) => (word === '--plugin' ? (words[i + 1] ?? []) : word.startsWith('--plugin=') ? word.slice('--plugin='.length) : [])));
  await using querent = await openQuerent();
  const task = querent.registry.get('task', name);
  const properties = objectOf(objectOf(task.input)['properties']);
  const required = Array.isArray(task.input['required']) ? task.input['required'].map(String) : [];
  const main = required.find((key) => objectOf(properties[key])['type'] === 'string' || key === 'image');
  const options: ArgsDef = Object.fromEntries(
    Object.entries(properties).map(([key, schema]) => [key, { type: 'string', description: String(objectOf(schema)['description'] ?? '') }]),
  );
  return {
    name,
    description: task.description ?? `The task ${name}.`,
    ...(main === undefined ? {} : { positionals: main.toUpperCase() }),
    args: { ...options, model: { type: 'string', description: 'Model folder.', valueHint: 'DIR' }, ...MODEL_ARGS, ...JSON_ARG },
    async run(given, { signal, positionals }) {
      const values: Record<string, unknown> = given;
      const { pipeline } = await import('querent');
      const model = values['model'];
      await using run = await pipeline(name, { ...(await querentOptions({})), ...(typeof model === 'string' ? { model } : {}), signal });
      const input: Record<string, unknown> = {};
      for (const [key, schema] of Object.entries(properties)) if (typeof values[key] === 'string') input[key] = valueOf(key, String(values[key]), objectOf(schema));
      if (positionals[0] !== undefined && main !== undefined) input[main] = main === 'image' ? positionals[0] : await textOf(positionals[0]);
      const output = await run(input, { signal });
      if (values['json'] === true) printJson(output);
      else for (const value of Object.values(output)) printLine(typeof value === 'string' ? value : JSON.stringify(value));
      return 0;
    },
  };
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}

/** A text, or the contents of the file of that name. */
async function textOf(word: string): Promise<string> {
  return readFile(word, 'utf8').catch(() => word);
}

function valueOf(key: string, text: string, schema: Readonly<Record<string, unknown>>): unknown {
  if (schema['type'] === 'string' || schema['type'] === undefined) return text;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new QuerentError('QRT_USAGE', `--${key} is ${JSON.stringify(text)}; ${String(schema['type'])} was expected.`, { cause });
  }
}
