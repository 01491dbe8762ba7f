/**
 * The core of BPE training: repeatedly merge the most frequent pair of neighbours. Counts are kept up to date word by
 * word, and a heap whose entries are checked when they come up (a count may have changed since) finds the next pair.
 */

export interface LearntMerges {
  readonly merges: readonly (readonly [left: string, right: string])[];
  /** New tokens, in order; one fewer than merges where two merges make the same token. */
  readonly tokens: readonly string[];
}

interface Pair {
  readonly left: number;
  readonly right: number;
  /** How often it occurs now. */
  count: number;
  /** Words that have or had it. */
  readonly words: Set<number>;
}

interface Word {
  symbols: readonly number[];
  readonly count: number;
}

/** Ids fit in 21 bits, a pair of them in a double. */
const ID_RANGE = 2 ** 21;

/**
 * @param words in characters of `alphabet`, with counts
 * @param options `merges`: how many tokens to make; `minFrequency`: rarer pairs are left alone
 */
export function learnMerges(
  words: ReadonlyMap<string, number>,
  alphabet: readonly string[],
  options: { readonly merges: number; readonly minFrequency: number },
): LearntMerges {
  const tokens = [...alphabet];
  const idOf = new Map(tokens.map((token, id) => [token, id]));
  const all: Word[] = [...words].map(([word, count]) => ({
    symbols: [...word].map((character) => idOf.get(character) ?? unknown(character)),
    count,
  }));
  const pairs = new Map<number, Pair>();
  all.forEach((word, index) => countPairs(pairs, word, index, 1));
  const heap = new PairHeap();
  for (const pair of pairs.values()) heap.push(pair);

  const merges: (readonly [string, string])[] = [];
  while (tokens.length < alphabet.length + options.merges) {
    const best = heap.pop();
    if (best === undefined || best.count < Math.max(1, options.minFrequency)) break;
    const left = tokens[best.left] ?? '';
    const right = tokens[best.right] ?? '';
    const merged = idOf.get(left + right) ?? tokens.length;
    if (merged === tokens.length) {
      tokens.push(left + right);
      idOf.set(left + right, merged);
    }
    merges.push([left, right]);

    const risen = new Set<Pair>();
    for (const index of best.words) {
      const word = all[index];
      if (word === undefined) continue;
      const symbols = mergeIn(word.symbols, best, merged);
      if (symbols.length === word.symbols.length) continue;
      countPairs(pairs, word, index, -1);
      word.symbols = symbols;
      for (const pair of countPairs(pairs, word, index, 1)) {
        if (pair.left === merged || pair.right === merged) risen.add(pair);
      }
    }
    pairs.delete(keyOf(best.left, best.right)); // no word has it any more
    for (const pair of risen) heap.push(pair);
  }
  return { merges, tokens: tokens.slice(alphabet.length) };
}

function keyOf(left: number, right: number): number {
  return left * ID_RANGE + right;
}

/** Adds (or with sign -1 takes away) a word's pairs; gives them. */
function countPairs(pairs: Map<number, Pair>, word: Word, index: number, sign: 1 | -1): Pair[] {
  const touched: Pair[] = [];
  for (let i = 1; i < word.symbols.length; i++) {
    const left = word.symbols[i - 1] as number; // i - 1 and i are in range
    const right = word.symbols[i] as number;
    const key = keyOf(left, right);
    let pair = pairs.get(key);
    if (pair === undefined) {
      pair = { left, right, count: 0, words: new Set() };
      pairs.set(key, pair);
    }
    pair.count += sign * word.count;
    if (sign === 1) pair.words.add(index);
    touched.push(pair);
  }
  return touched;
}

/** Replaces the pair from left to right. */
function mergeIn(symbols: readonly number[], pair: Pair, merged: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < symbols.length; i++) {
    const symbol = symbols[i] as number; // i is in range
    if (symbol === pair.left && symbols[i + 1] === pair.right) {
      out.push(merged);
      i++;
    } else {
      out.push(symbol);
    }
  }
  return out;
}

function unknown(character: string): never {
  throw new RangeError(`${JSON.stringify(character)} is not in the alphabet`);
}

interface HeapEntry {
  readonly pair: Pair;
  /** The count when it was put in. */
  readonly count: number;
}

/** Largest count first, then smaller ids. */
class PairHeap {
  private readonly entries: HeapEntry[] = [];

  push(pair: Pair): void {
    const entry = { pair, count: pair.count };
    let at = this.entries.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = this.entries[parent] as HeapEntry; // parent is in range
      if (!comesBefore(entry, above)) break;
      this.entries[at] = above;
      at = parent;
    }
    this.entries[at] = entry;
  }

  /** The most frequent pair now. Entries with an outdated count are put back with the present one. */
  pop(): Pair | undefined {
    for (let top = this.take(); top !== undefined; top = this.take()) {
      if (top.count === top.pair.count) return top.pair;
      if (top.pair.count > 0 && top.pair.count < top.count) this.push(top.pair);
    }
    return undefined;
  }

  private take(): HeapEntry | undefined {
    const top = this.entries[0];
    const last = this.entries.pop();
    if (top === undefined || last === undefined || this.entries.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const left = this.entries[child];
      if (left === undefined) break;
      const right = this.entries[child + 1];
      if (right !== undefined && comesBefore(right, left)) child++;
      const best = this.entries[child] as HeapEntry; // child is in range
      if (!comesBefore(best, last)) break;
      this.entries[at] = best;
      at = child;
    }
    this.entries[at] = last;
    return top;
  }
}

function comesBefore(a: HeapEntry, b: HeapEntry): boolean {
  return a.count > b.count || (a.count === b.count && (a.pair.left < b.pair.left || (a.pair.left === b.pair.left && a.pair.right < b.pair.right)));
}
