/** The best k of many scores, seen one after the other. */

export interface Hit {
  readonly score: number;
  readonly row: number;
}

/** Keeps the `k` largest; of equal ones those that came first. */
export class TopHits {
  readonly #k: number;
  /** A binary heap with the worst of the kept on top. */
  readonly #heap: Hit[] = [];

  constructor(k: number) {
    this.#k = k;
  }

  /** A score below this is not kept. */
  get threshold(): number {
    return this.#heap.length < this.#k ? -Infinity : (this.#heap[0]?.score ?? Infinity);
  }

  offer(score: number, row: number): void {
    const heap = this.#heap;
    if (heap.length < this.#k) {
      heap.push({ score, row });
      for (let i = heap.length - 1; i > 0; ) {
        const parent = (i - 1) >> 1;
        if (!isWorse(heap[i]!, heap[parent]!)) break;
        [heap[i], heap[parent]] = [heap[parent]!, heap[i]!];
        i = parent;
      }
      return;
    }
    const worst = heap[0];
    if (worst === undefined || !isWorse(worst, { score, row })) return;
    heap[0] = { score, row };
    for (let i = 0; ; ) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isWorse(heap[child + 1]!, heap[child]!)) child++;
      if (!isWorse(heap[child]!, heap[i]!)) break;
      [heap[i], heap[child]] = [heap[child]!, heap[i]!];
      i = child;
    }
  }

  /** Best first. */
  sorted(): Hit[] {
    return this.#heap.toSorted((a, b) => (isWorse(a, b) ? 1 : -1));
  }
}

function isWorse(a: Hit, b: Hit): boolean {
  return a.score < b.score || (a.score === b.score && a.row > b.row);
}
