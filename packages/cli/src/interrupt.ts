/**
 * Ctrl-C: the first one aborts a signal and gives the command a second to keep what is done; the second one, or the end of
 * that second, ends the process. Commands that are saving (training) take as long as they need.
 */

/** Exit code of a process that was interrupted: 128 + SIGINT. */
export const INTERRUPTED = 130;

const PATIENCE_MS = 900;

export interface Interrupt extends Disposable {
  readonly signal: AbortSignal;
}

/** Listens for SIGINT and SIGTERM until it is disposed. */
export function onInterrupt(options: { readonly patient: boolean }): Interrupt {
  const controller = new AbortController();
  const listener = (): void => {
    if (controller.signal.aborted) process.exit(INTERRUPTED);
    controller.abort(new DOMException('Interrupted', 'AbortError'));
    if (!options.patient) setTimeout(() => process.exit(INTERRUPTED), PATIENCE_MS).unref();
  };
  process.on('SIGINT', listener);
  process.on('SIGTERM', listener);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      process.off('SIGINT', listener);
      process.off('SIGTERM', listener);
    },
  };
}
