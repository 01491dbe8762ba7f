/** What commands share: the Querent with the plugins that the command line names, and the model that it names. */
import { QuerentError } from '@querent/core';
import type { LoadOptions, Precision, Querent, QuerentOptions } from 'querent';
import { wholeNumber } from './command.ts';
import { showDownload, showLoading } from './output.ts';

/** Options that choose where a model runs. */
export interface EngineArgs {
  readonly engine?: string | undefined;
  readonly threads?: string | undefined;
  readonly precision?: string | undefined;
  /** Work in this thread: a training hands over all its weights at each step, and has nothing else to do meanwhile. */
  readonly inPlace?: boolean;
}

let pluginNames: readonly string[] = [];

/** Notes what `--plugin` names; `querent` imports them, from the working directory, when a Querent is opened. */
export function usePlugins(names: readonly string[]): void {
  pluginNames = names;
}

/** What `--plugin` names, in its order. */
export function namedPlugins(): readonly string[] {
  return pluginNames;
}

/** A Querent with the named plugins. The caller disposes it. */
export async function openQuerent(args: EngineArgs = {}): Promise<Querent> {
  const { createQuerent } = await import('querent');
  return createQuerent(await querentOptions(args));
}

export async function querentOptions(args: EngineArgs): Promise<QuerentOptions & Required<Pick<LoadOptions, 'onDownload' | 'onProgress'>>> {
  const threads = wholeNumber('threads', args.threads);
  return {
    onDownload: showDownload,
    onProgress: showLoading,
    ...(args.engine === undefined ? {} : { engine: args.engine }),
    ...(threads === undefined ? {} : { threads }),
    ...(args.inPlace === undefined ? {} : { inPlace: args.inPlace }),
    ...(args.precision === undefined ? {} : { precision: precisionOf(args.precision) }),
    ...(pluginNames.length === 0 ? {} : { plugins: pluginNames }),
  };
}

const PRECISIONS: readonly Precision[] = ['fp32', 'fp16', 'int8', 'int4'];

/** @throws QuerentError QRT_USAGE. */
function precisionOf(given: string): Precision {
  const precision = PRECISIONS.find((name) => name === given);
  if (precision !== undefined) return precision;
  throw new QuerentError('QRT_USAGE', `--precision was given ${JSON.stringify(given)}; there are ${PRECISIONS.join(', ')}.`, { fix: 'Leave it out to take weights as the file has them.' });
}
