/**
 * A fair, bounded queue: jobs wait in lanes (one per caller), lanes take turns, and at most `width` jobs are admitted at
 * a time. What waits holds no copies: a job does its work (copying feeds, sending, running) only once admitted, so memory is
 * bounded by `width` and the caller's pending promise is the back-pressure.
 */
interface Entry {
  readonly start: () => void;
  readonly fail: (reason: unknown) => void;
}

/** See the file header. Lanes are compared by identity. */
export class FairQueue {
  readonly #width: number;
  readonly #lanes: Map<unknown, Entry[]> = new Map();
  #active = 0;
  #closed: { readonly reason: unknown } | undefined;
  #idle: (() => void)[] = [];

  /** @param width How many jobs may be under way at the same time, 1 or more. */
  constructor(width: number) {
    this.#width = width;
  }

  /** Jobs under way. */
  get active(): number {
    return this.#active;
  }

  /** Jobs that wait. */
  get waiting(): number {
    let count = 0;
    for (const entries of this.#lanes.values()) count += entries.length;
    return count;
  }

  /** Runs `job` when it is the lane's turn. Aborting takes a waiting job out at once and rejects with the signal's reason; a job under way is finished. */
  run<T>(lane: unknown, job: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed !== undefined) return reject(this.#closed.reason);
      if (signal?.aborted === true) return reject(signal.reason);
      const onAbort = (): void => {
        this.#remove(lane, entry);
        reject(signal?.reason);
      };
      const entry: Entry = {
        start: () => {
          signal?.removeEventListener('abort', onAbort);
          job().then(
            (value) => {
              this.#finish();
              resolve(value);
            },
            (error: unknown) => {
              this.#finish();
              reject(error);
            },
          );
        },
        fail: (reason) => {
          signal?.removeEventListener('abort', onAbort);
          reject(reason);
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const entries = this.#lanes.get(lane);
      if (entries === undefined) this.#lanes.set(lane, [entry]);
      else entries.push(entry);
      this.#admit();
    });
  }

  /** Rejects what waits and everything to come with `reason`; resolves when nothing is under way any more. */
  async close(reason: unknown): Promise<void> {
    if (this.#closed === undefined) {
      this.#closed = { reason };
      const waiting = [...this.#lanes.values()].flat();
      this.#lanes.clear();
      for (const entry of waiting) entry.fail(reason);
    }
    if (this.#active > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #remove(lane: unknown, entry: Entry): void {
    const entries = this.#lanes.get(lane);
    const at = entries?.indexOf(entry) ?? -1;
    if (entries === undefined || at < 0) return;
    entries.splice(at, 1);
    if (entries.length === 0) this.#lanes.delete(lane);
  }

  #admit(): void {
    while (this.#active < this.#width) {
      const next = this.#lanes.entries().next();
      if (next.done === true) return;
      const [lane, entries] = next.value;
      const entry = entries.shift();
      // The lane goes to the back of the line: a Map keeps insertion order.
      this.#lanes.delete(lane);
      if (entries.length > 0) this.#lanes.set(lane, entries);
      if (entry === undefined) continue;
      this.#active++;
      entry.start();
    }
  }

  #finish(): void {
    this.#active--;
    this.#admit();
    if (this.#active > 0) return;
    const idle = this.#idle;
    this.#idle = [];
    for (const resolve of idle) resolve();
  }
}
