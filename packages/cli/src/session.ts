/** What commands share: the Querent with the plugins that the command line names, and the model that it names. */
import { isAbsolute, resolve } from 'node:path';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { QuerentError } from '@querent/core';
import type { LoadOptions, Precision, Querent, QuerentOptions } from 'querent';
import { wholeNumber } from './command.ts';
import { showDownload } from './output.ts';

/** Options that choose where a model runs. */
export interface EngineArgs {
  readonly engine?: string | undefined;
  readonly threads?: string | undefined;
  readonly precision?: string | undefined;
}

let pluginNames: readonly string[] = [];

/** Notes what `--plugin` names; the packages are imported when a Querent is opened. */
export function usePlugins(names: readonly string[]): void {
  pluginNames = names;
}

/** A Querent with the named plugins. The caller disposes it. */
export async function openQuerent(args: EngineArgs = {}): Promise<Querent> {
  const { createQuerent } = await import('querent');
  return createQuerent(await querentOptions(args));
}

export async function querentOptions(args: EngineArgs): Promise<QuerentOptions & Required<Pick<LoadOptions, 'onDownload'>>> {
  const threads = wholeNumber('threads', args.threads);
  const plugins = (await Promise.all(pluginNames.map(importPlugin))).flat();
  return {
    onDownload: showDownload,
    ...(args.engine === undefined ? {} : { engine: args.engine }),
    ...(threads === undefined ? {} : { threads }),
    ...(args.precision === undefined ? {} : { precision: precisionOf(args.precision) }),
    ...(plugins.length === 0 ? {} : { plugins }),
  };
}

const PRECISIONS: readonly Precision[] = ['fp32', 'fp16', 'int8', 'int4'];

/** @throws QuerentError QRT_USAGE. */
function precisionOf(given: string): Precision {
  const precision = PRECISIONS.find((name) => name === given);
  if (precision !== undefined) return precision;
  throw new QuerentError('QRT_USAGE', `--precision was given ${JSON.stringify(given)}; there are ${PRECISIONS.join(', ')}.`, { fix: 'Leave it out to take weights as the file has them.' });
}

/** A package's default export: one plugin, or a list of them. A path counts from the working directory, a name from its packages. */
async function importPlugin(name: string): Promise<readonly unknown[]> {
  try {
    const path = name.startsWith('.') || isAbsolute(name) ? resolve(name) : createRequire(resolve('package.json')).resolve(name);
    const module: unknown = await import(pathToFileURL(path).href);
    const exported: unknown = typeof module === 'object' && module !== null && 'default' in module ? module.default : undefined;
    if (exported === undefined) throw new QuerentError('QRT_PLUGIN_INVALID', `The plugin ${name} has no default export.`, { fix: 'Export what defineTask, defineEncoder, … give as the default.' });
    return Array.isArray(exported) ? exported : [exported];
  } catch (cause) {
    if (cause instanceof QuerentError) throw cause;
    const reason = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause);
    throw new QuerentError('QRT_PLUGIN_UNKNOWN', `The plugin ${name} cannot be imported: ${reason}`, { fix: `Install it: npm install ${name}`, cause });
  }
}
