/**
 * Node ends worker threads when the process exits, and a worker that is inside onnxruntime then takes the process down with a
 * signal instead of its exit code. So the caller's thread, on exit, asks the worker to begin nothing more and waits for the run under way.
 * Cell 0: the worker is inside onnxruntime. Cell 1: the process is about to exit. Each side writes its own cell before it reads the other's.
 */
const INSIDE = 0;
const EXITING = 1;

/** The longest that an exit is delayed, in milliseconds. */
const MAX_WAIT_MS = 60_000;

/** Fresh cells, shared between the two threads. */
export function createGuard(): SharedArrayBuffer {
  return new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT);
}

/** Caller's side, in an `exit` handler: returns once the worker is outside onnxruntime. */
export function waitUntilOutside(guard: SharedArrayBuffer): void {
  const cells = new Int32Array(guard);
  Atomics.store(cells, EXITING, 1);
  Atomics.wait(cells, INSIDE, 1, MAX_WAIT_MS);
}

/** Worker's side: runs `work` unless the process is about to exit; then it never settles, and nobody is left to see it. */
export async function insideGuard<T>(guard: SharedArrayBuffer, work: () => Promise<T>): Promise<T> {
  const cells = new Int32Array(guard);
  Atomics.store(cells, INSIDE, 1);
  try {
    if (Atomics.load(cells, EXITING) === 1) {
      leave(cells);
      return await new Promise<never>(() => {});
    }
    return await work();
  } finally {
    leave(cells);
  }
}

function leave(cells: Int32Array): void {
  Atomics.store(cells, INSIDE, 0);
  Atomics.notify(cells, INSIDE);
}
