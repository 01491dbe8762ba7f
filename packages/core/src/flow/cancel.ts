/**
 * AbortSignal ⇄ unsubscribe, in this one place. A run has one controller: it aborts when the run is left (unsubscribe, a
 * `break` out of `for await`), when it fails, and when a signal given from outside aborts; then with that signal's own reason.
 */
import { Observable } from 'rxjs';

/** A controller that follows other signals until `unlink` is called. */
export interface LinkedController {
  readonly controller: AbortController;
  unlink(): void;
}

/** Aborts with the reason of whichever of `signals` aborts first. */
export function linkSignals(signals: readonly AbortSignal[]): LinkedController {
  const controller = new AbortController();
  const undo: (() => void)[] = [];
  for (const signal of signals) {
    if (signal.aborted) {
      controller.abort(signal.reason);
      break;
    }
    const abort = (): void => controller.abort(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    undo.push(() => signal.removeEventListener('abort', abort));
  }
  return {
    controller,
    unlink: () => {
      for (const one of undo.splice(0)) one();
    },
  };
}

/** The promise, or a rejection with the signal's reason as soon as it aborts. What loses the race is not left unhandled. */
export function raceSignal<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    promise.catch(() => undefined);
    return Promise.reject(signal.reason);
  }
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    promise.then(
      (value) => {
        signal.removeEventListener('abort', abort);
        resolve(value);
      },
      (error: unknown) => {
        signal.removeEventListener('abort', abort);
        reject(error);
      },
    );
  });
}

/** Any Observable, ended with the signal's own reason when it aborts. A Flow takes its signal in `from(source, { signal })`. */
export function untilAborted<T>(source: Observable<T>, signal: AbortSignal): Observable<T> {
  return new Observable<T>((subscriber) => {
    if (signal.aborted) {
      subscriber.error(signal.reason);
      return;
    }
    const abort = (): void => subscriber.error(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    subscriber.add(() => signal.removeEventListener('abort', abort));
    subscriber.add(source.subscribe(subscriber));
  });
}

/** Is this the reason of a cancellation that `signal` asked for, rather than a failure? */
export function isAborted(signal: AbortSignal | undefined, error: unknown): boolean {
  return signal?.aborted === true && (error === signal.reason || (error instanceof Error && error.name === 'AbortError'));
}
