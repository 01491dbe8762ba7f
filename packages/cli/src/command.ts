/**
 * What a command is: citty's definition of its arguments (which makes `--help`), and a function that is given them checked.
 * Commands import `querent` inside `run`, so that `querent --help` starts without loading an engine.
 */
import { QuerentError, nearest } from '@querent/core';
import type { ArgsDef, BooleanArgDef, CommandDef, ParsedArgs, StringArgDef } from 'citty';

/** What a command is given beside its arguments. */
export interface CommandContext {
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /** Positional arguments, in order, without options. */
  readonly positionals: readonly string[];
}

export interface Command<Args extends ArgsDef = ArgsDef> {
  readonly name: string;
  readonly description: string;
  /** How its positional arguments are shown: `PHOTO...`. */
  readonly positionals?: string;
  readonly args: Args;
  /** Gives the exit code: 0, or 1 when something failed that has been reported already. */
  run(args: ParsedArgs<Args>, context: CommandContext): Promise<number>;
}

/** Identity, for inference. */
export function defineCliCommand<const Args extends ArgsDef>(command: Command<Args>): Command<Args> {
  return command;
}

/** Options of every command. */
export const COMMON_ARGS: { readonly debug: BooleanArgDef; readonly plugin: StringArgDef } = {
  debug: { type: 'boolean', description: 'Show the stack of an error.', default: false },
  plugin: { type: 'string', description: 'Load a plugin package; may be repeated.', valueHint: 'PACKAGE' },
};

/** Options of commands that run a model. */
export const MODEL_ARGS: { readonly engine: StringArgDef; readonly threads: StringArgDef; readonly precision: StringArgDef } = {
  engine: { type: 'string', description: 'Engine and backend, for instance onnxruntime:cpu.', valueHint: 'NAME' },
  threads: { type: 'string', description: 'Threads within an operator; the machine’s cores when absent.', valueHint: 'N' },
  precision: { type: 'string', description: 'How frozen weights are held: fp32, fp16, int8, int4; as the file has them when absent.', valueHint: 'NAME' },
};

export const JSON_ARG: { readonly json: BooleanArgDef } = { json: { type: 'boolean', description: 'Print JSON and nothing else.', default: false } };

/** citty's form of a command, for its help. */
export function helpOf(command: Command): CommandDef {
  const { name, description, positionals, args } = command;
  const shown: ArgsDef = positionals === undefined ? {} : { [positionals]: { type: 'positional', required: false, description: '' } };
  return { meta: { name: `querent ${name}`, description }, args: { ...shown, ...args, ...COMMON_ARGS } };
}

/**
 * Splits the words of a command line into options and positionals. citty accepts what it does not know; here that is an error.
 *
 * @throws QuerentError QRT_USAGE naming an unknown option, or one without its value.
 */
export function splitArgs(command: Command, words: readonly string[]): { readonly options: readonly string[]; readonly positionals: readonly string[]; readonly plugins: readonly string[] } {
  const known: ArgsDef = { ...command.args, ...COMMON_ARGS };
  const options: string[] = [];
  const positionals: string[] = [];
  const plugins: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    if (word === '--') {
      positionals.push(...words.slice(i + 1));
      break;
    }
    if (!word.startsWith('-') || word === '-') {
      positionals.push(word);
      continue;
    }
    const [name = '', given] = word.replace(/^--?/, '').split(/=(.*)/s);
    const definition = known[name];
    if (definition === undefined || !word.startsWith('--')) throw unknownOption(command, word.split('=')[0] ?? word, Object.keys(known));
    if (definition.type === 'boolean') {
      if (given !== undefined && given !== 'true' && given !== 'false') throw new QuerentError('QRT_USAGE', `--${name} takes no value; it was given ${JSON.stringify(given)}.`);
      if (given !== 'false') options.push(`--${name}`);
      continue;
    }
    const value = given ?? words[++i];
    if (value === undefined || (given === undefined && value.startsWith('--'))) throw new QuerentError('QRT_USAGE', `--${name} needs a value.`, { fix: `See \`querent ${command.name} --help\`.` });
    if (name === 'plugin') plugins.push(value);
    else options.push(`--${name}=${value}`);
  }
  return { options, positionals, plugins };
}

function unknownOption(command: Command, word: string, known: readonly string[]): QuerentError {
  const near = nearest(word.replace(/^-+/, ''), known);
  return new QuerentError('QRT_USAGE', `\`querent ${command.name}\` has no option ${word}.`, {
    fix: near === undefined ? `See \`querent ${command.name} --help\`.` : `Did you mean --${near}?`,
  });
}

/** A whole number that an option holds. @throws QuerentError QRT_USAGE */
export function wholeNumber(option: string, text: string | undefined, lowest = 1): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < lowest || text.trim() === '') {
    throw new QuerentError('QRT_USAGE', `--${option} is ${JSON.stringify(text)}; a whole number of at least ${lowest} was expected.`);
  }
  return value;
}

/** A number, of either sign. @throws QuerentError QRT_USAGE */
export function finiteNumber(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isFinite(value) || text.trim() === '') throw new QuerentError('QRT_USAGE', `--${option} is ${JSON.stringify(text)}; a number was expected.`);
  return value;
}

/** An option that must be there. @throws QuerentError QRT_USAGE */
export function required(option: string, value: string | undefined): string {
  if (value === undefined || value === '') throw new QuerentError('QRT_USAGE', `--${option} is missing.`, { fix: `Name it: --${option} ….` });
  return value;
}
