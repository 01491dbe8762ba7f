/**
 * The command line: finds the command, checks its words, runs it, turns what went wrong into one paragraph and an exit code
 * (0 done, 1 failed, 2 called wrongly, 130 interrupted). Each command is a file of `commands/`, loaded when it is asked for.
 */
import { readFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';
import { QuerentError, isAborted, nearest } from '@querent/core';
import { parseArgs, renderUsage } from 'citty';
import type { Command } from './command.ts';
import { helpOf, splitArgs } from './command.ts';
import { INTERRUPTED, onInterrupt } from './interrupt.ts';
import { note, printLine } from './output.ts';
import { describeError, exitCodeOf } from './print-error.ts';
import { usePlugins } from './session.ts';

interface Entry {
  readonly summary: string;
  /** It saves when it is interrupted, and is given the time. */
  readonly patient?: boolean;
  load(): Promise<Command>;
}

/** Every command, in the order of the help. */
const COMMANDS: Readonly<Record<string, Entry>> = {
  caption: { summary: 'Write a sentence about each photograph.', load: async () => (await import('./commands/caption.ts')).default },
  vqa: { summary: 'Answer a question about each photograph.', load: async () => (await import('./commands/vqa.ts')).default },
  instruct: { summary: 'Do what an instruction asks for, about each photograph.', load: async () => (await import('./commands/instruct.ts')).default },
  chat: { summary: 'Talk about photographs.', load: async () => (await import('./commands/chat.ts')).default },
  attend: { summary: 'Draw where the model looked.', load: async () => (await import('./commands/attend.ts')).default },
  match: { summary: 'Say how well a sentence fits each photograph.', load: async () => (await import('./commands/match.ts')).default },
  embed: { summary: 'Turn photographs or texts into vectors.', load: async () => (await import('./commands/embed.ts')).default },
  index: { summary: 'Bring an index of photographs up to date with folders.', patient: true, load: async () => (await import('./commands/index-photos.ts')).default },
  search: { summary: 'Find photographs of an index by a sentence or a photograph.', load: async () => (await import('./commands/retrieve.ts')).default },
  retrieve: { summary: 'The same as search.', load: async () => (await import('./commands/retrieve.ts')).default },
  curate: { summary: 'Write captions anew and keep the best: pairs in, cleaner pairs out.', patient: true, load: async () => (await import('./commands/curate.ts')).default },
  run: { summary: 'Run a pipeline document: a source, tasks one after the other, a sink.', patient: true, load: async () => (await import('./commands/run.ts')).default },
  train: { summary: 'Train what a recipe describes; go on where it stopped.', patient: true, load: async () => (await import('./commands/train.ts')).default },
  evaluate: { summary: 'Score captions or retrieval on an annotated set.', load: async () => (await import('./commands/evaluate.ts')).default },
  inspect: { summary: 'Parts, sizes, memory and missing tensors of a model, before it is loaded.', load: async () => (await import('./commands/inspect.ts')).default },
  verify: { summary: 'Compare with reference tensors.', load: async () => (await import('./commands/verify.ts')).default },
  bench: { summary: 'Measure a training step, beside PyTorch or on every engine.', load: async () => (await import('./commands/bench.ts')).default },
  doctor: { summary: 'Say which engines work here, and what to install.', load: async () => (await import('./commands/doctor.ts')).default },
  plugin: { summary: 'Start a plugin of your own, check one, list what is there.', load: async () => (await import('./commands/plugin.ts')).default },
  graph: { summary: 'Print the graph of a model.', load: async () => (await import('./commands/graph.ts')).default },
};

/**
 * Runs one command line.
 *
 * @param words without `node` and the script: `['caption', 'photo.jpg']`
 * @returns the exit code; nothing is thrown.
 */
export async function main(words: readonly string[]): Promise<number> {
  process.stdout.on('error', endOnClosedPipe);
  const debug = words.includes('--debug');
  try {
    return await dispatch(words);
  } catch (error) {
    note(describeError(error, { debug }).trimEnd());
    return exitCodeOf(error);
  } finally {
    process.stdout.off('error', endOnClosedPipe);
  }
}

/** `querent caption folder | head` closes our stdout: that ends us, quietly. */
function endOnClosedPipe(error: NodeJS.ErrnoException): void {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
}

async function dispatch(words: readonly string[]): Promise<number> {
  const [first, ...rest] = words;
  if (first === undefined || first === 'help' || first === '--help' || first === '-h') {
    const about = rest[0] === undefined ? undefined : COMMANDS[rest[0]];
    printLine(about === undefined ? overview() : await usage(await about.load()));
    return 0;
  }
  if (first === 'version' || first === '--version' || first === '-v') {
    printLine(version());
    return 0;
  }
  const entry = COMMANDS[first];
  if (entry === undefined) return pluginTask(first, rest);
  const command = await entry.load();
  if (asksForHelp(rest)) {
    printLine(await usage(command));
    return 0;
  }
  return execute(command, rest, entry.patient === true);
}

async function execute(command: Command, words: readonly string[], patient: boolean): Promise<number> {
  const { options, positionals, plugins } = splitArgs(command, words);
  const args = parseArgs([...options], command.args);
  usePlugins(plugins);
  using interrupt = onInterrupt({ patient });
  try {
    return await command.run(args, { signal: interrupt.signal, positionals });
  } catch (error) {
    if (!isAborted(interrupt.signal, error)) throw error;
  }
  note('Interrupted.');
  return INTERRUPTED;
}

/** `querent alt-text page.html --plugin querent-plugin-alt-text`: a task of a plugin is a command. */
async function pluginTask(name: string, words: readonly string[]): Promise<number> {
  const { pluginsNamed, taskCommand } = await import('./commands/plugin-task.ts');
  if (pluginsNamed(words).length > 0) {
    const command = await taskCommand(name, words);
    if (!asksForHelp(words)) return execute(command, words, false);
    printLine(await usage(command));
    return 0;
  }
  const near = nearest(name, Object.keys(COMMANDS));
  throw new QuerentError('QRT_USAGE', `There is no command ${JSON.stringify(name)}.`, {
    fix: near === undefined ? `There are: ${Object.keys(COMMANDS).join(', ')}. A plugin's command needs --plugin PACKAGE.` : `Did you mean ${near}?`,
  });
}

function asksForHelp(words: readonly string[]): boolean {
  return words.includes('--help') || words.includes('-h');
}

/** The help of a command; without colours in a pipe. */
async function usage(command: Command): Promise<string> {
  const text = await renderUsage(helpOf(command));
  return (process.stdout.isTTY ? text : stripVTControlCharacters(text)).replace(/[ \t]+$/gm, '').trimEnd();
}

function overview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length));
  const rows = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return [
    'querent: a photograph to a sentence.',
    '',
    'Usage: querent COMMAND [OPTIONS]',
    '',
    ...rows,
    `  ${'version'.padEnd(width)}  Print the version.`,
    '',
    '`querent COMMAND --help` says more. Exit codes: 0 done, 1 failed, 2 called wrongly, 130 interrupted.',
  ].join('\n');
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : 'unknown';
}
