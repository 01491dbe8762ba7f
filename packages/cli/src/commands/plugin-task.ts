/**
 * A task of a plugin as a command: `querent alt-text page.html --plugin querent-plugin-alt-text`. Its input's schema says what
 * may be given (`plugin-task-input.ts`), its outputs are printed: texts as they are, everything else as JSON.
 */
import { QuerentError } from '@querent/core';
import { JSON_ARG, MODEL_ARGS } from '../command.ts';
import type { Command } from '../command.ts';
import { note, printJson, printLine, printPart } from '../output.ts';
import { describeItemError } from '../print-error.ts';
import { openQuerent, querentOptions, usePlugins } from '../session.ts';
import { inputArgs } from './plugin-task-input.ts';

/** Names that `--plugin` gives. */
export function pluginsNamed(words: readonly string[]): string[] {
  return words.flatMap((word, i) => (word === '--plugin' ? (words[i + 1] ?? []) : word.startsWith('--plugin=') ? word.slice('--plugin='.length) : []));
}

/** @throws QuerentError QRT_PLUGIN_UNKNOWN when no named plugin has a task of that name, and what importing them throws. */
export async function taskCommand(name: string, words: readonly string[]): Promise<Command> {
  usePlugins(pluginsNamed(words));
  await using querent = await openQuerent();
  const task = querent.registry.get('task', name);
  const input = inputArgs(task.input);
  return {
    name,
    description: task.description ?? `The task ${name}.`,
    ...(input.positional === undefined ? {} : { positionals: `${input.positional.toUpperCase()}...` }),
    args: { ...input.args, model: { type: 'string', description: 'Model folder; the embedded querent-mini when absent.', valueHint: 'DIR' }, ...MODEL_ARGS, ...JSON_ARG },
    async run(given, { signal, positionals }) {
      const values: Readonly<Record<string, unknown>> = given;
      const text = (key: string): string | undefined => (typeof values[key] === 'string' ? values[key] : undefined);
      if (input.positional === undefined && positionals.length > 0) {
        throw new QuerentError('QRT_USAGE', `\`querent ${name}\` takes options only; it was given ${JSON.stringify(positionals[0])}.`, { fix: `See \`querent ${name} --help\`.` });
      }
      const { pipeline } = await import('querent');
      const model = text('model');
      const options = await querentOptions({ engine: text('engine'), threads: text('threads'), precision: text('precision') });
      const asked = positionals.length === 0 ? [undefined] : positionals;
      const isJson = values['json'] === true;
      let failed = 0;
      await using run = await pipeline(name, { ...options, ...(model === undefined ? {} : { model }), signal });
      for (const positional of asked) {
        try {
          const request = await input.read(values, positional);
          if (isJson) printJson(await run(request, { signal }));
          else await printStream(run.stream(request, { signal }));
        } catch (error) {
          if (asked.length === 1 || signal.aborted || !(error instanceof Error)) throw error;
          failed++;
          note(`${positional}   ${describeItemError(error)}`); // the others go on
        }
      }
      return failed > 0 ? 1 : 0;
    },
  };
}

type StreamEvent = { readonly delta: string } & Readonly<Record<string, unknown>>;

/** Text as it comes; then each output, unless the pieces have said it already. */
async function printStream(events: AsyncIterable<StreamEvent>): Promise<void> {
  let said = '';
  for await (const event of events) {
    const { delta, ...output } = event;
    const values = Object.values(output);
    if (values.length === 0) {
      said += delta;
      printPart(delta);
      continue;
    }
    if (said !== '') printPart('\n');
    for (const value of values) if (value !== said) printLine(typeof value === 'string' ? value.replace(/\n$/, '') : JSON.stringify(value));
    said = '';
  }
}
