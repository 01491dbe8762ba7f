/** Programs: loops that run beside an engine's executables. The module is imported on the engine's side; its events are pulled one by one. */
import type { Program, ProgramContext } from './contracts/engine.ts';
import { QuerentError, isQuerentError } from './errors.ts';

/**
 * Imports `moduleUrl` and runs its export. Aborting acts between events: the loop is asked to return, and the signal's own reason is thrown.
 *
 * @throws QuerentError QRT_USAGE when the module cannot be imported or has no such function.
 */
export async function* runProgram<Event>(
  moduleUrl: string | URL,
  exportName: string,
  args: unknown,
  context: ProgramContext,
): AsyncGenerator<Event, void, undefined> {
  const { signal } = context;
  signal.throwIfAborted();
  const program = await importProgram<Event>(String(moduleUrl), exportName);
  signal.throwIfAborted();
  try {
    for await (const event of program(args, context)) {
      signal.throwIfAborted();
      yield event;
      signal.throwIfAborted();
    }
  } catch (error) {
    // Whatever a loop throws because it was cancelled, the caller sees its own reason.
    if (signal.aborted) throw signal.reason;
    throw error;
  }
  signal.throwIfAborted();
}

async function importProgram<Event>(moduleUrl: string, exportName: string): Promise<Program<unknown, Event>> {
  let module: unknown;
  try {
    module = await import(/* @vite-ignore */ moduleUrl);
  } catch (cause) {
    if (isQuerentError(cause)) throw cause;
    throw new QuerentError('QRT_USAGE', `The program ${moduleUrl} cannot be imported: ${cause instanceof Error ? cause.message : String(cause)}`, {
      fix: "Give an absolute URL, for instance new URL('./program.js', import.meta.url).",
      cause,
    });
  }
  const exports = module as Record<string, unknown>; // a module namespace is an object
  const program = exports[exportName];
  if (typeof program !== 'function') {
    throw new QuerentError('QRT_USAGE', `${moduleUrl} exports no function ${exportName}; it exports ${Object.keys(exports).join(', ') || 'nothing'}.`);
  }
  return program as Program<unknown, Event>; // that it yields events is the program's contract
}
