/** Programs: loops that run beside the executables, in this thread. Aborting acts between events and throws the signal's own reason. */
import type { Program, ProgramContext } from '@querent/core';
import { QuerentError, isQuerentError } from '@querent/core';

/** @throws QuerentError QRT_USAGE when the module cannot be imported or has no such function. */
export async function* runProgram<Event>(moduleUrl: string, exportName: string, args: unknown, context: ProgramContext): AsyncGenerator<Event, void, undefined> {
  const { signal } = context;
  signal.throwIfAborted();
  const program = await importProgram<Event>(moduleUrl, exportName);
  try {
    for await (const event of program(args, context)) {
      signal.throwIfAborted();
      yield event;
      signal.throwIfAborted();
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason; // whatever a loop throws because it was cancelled
    throw error;
  }
  signal.throwIfAborted();
}

async function importProgram<Event>(moduleUrl: string, exportName: string): Promise<Program<unknown, Event>> {
  const module: unknown = await import(/* @vite-ignore */ moduleUrl).catch((cause: unknown) => {
    if (isQuerentError(cause)) throw cause;
    throw new QuerentError('QRT_USAGE', `The program ${moduleUrl} cannot be imported: ${cause instanceof Error ? cause.message : String(cause)}`, {
      fix: "Give an absolute URL, for instance new URL('./program.js', import.meta.url).",
      cause,
    });
  });
  const exports = module as Record<string, unknown>; // a module namespace is an object
  const program = exports[exportName];
  if (typeof program !== 'function') throw new QuerentError('QRT_USAGE', `${moduleUrl} exports no function ${exportName}; it exports ${Object.keys(exports).join(', ') || 'nothing'}.`);
  return program as Program<unknown, Event>; // that it yields events is the program's contract
}
