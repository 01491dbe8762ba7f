/** Caption → token ids for whole corpora: words repeat, so each is encoded once where the tokenizer works word by word. */
import type { Tokenizer } from '@querent/hub';

/** Encodes text without special tokens. */
export type TextEncoder = (text: string) => readonly number[];

/**
 * The tokenizer's own encoding, remembered per word. Whether that is allowed is tried on the first captions: a tokenizer
 * that looks across blanks is asked for every caption.
 *
 * @param after a text that the captions go on from: their ids are then those that follow its own, because in many vocabularies `two`
 *   after a blank is another token than at the beginning
 */
export function createTextEncoder(tokenizer: Tokenizer, samples: readonly string[], after = ''): TextEncoder {
  const words = new Map<string, readonly number[]>();
  const plain = (text: string): readonly number[] => tokenizer.encode(text, { addSpecialTokens: false });
  const before = plain(after);
  const whole: TextEncoder = (text) => {
    const ids = after === '' ? plain(text) : plain(`${after} ${text}`);
    return before.every((id, i) => ids[i] === id) ? ids.slice(before.length) : plain(text);
  };
  const byWord: TextEncoder = (text) =>
    text.split(' ').flatMap((word) => {
      const known = words.get(word);
      if (known !== undefined) return known;
      const ids = whole(word);
      words.set(word, ids);
      return ids;
    });
  const isWordWise = samples.slice(0, 300).every((text) => byWord(text).join() === whole(text).join());
  return isWordWise ? byWord : whole;
}

/** Many id sequences in one array: a corpus of hundreds of thousands of captions without as many objects. */
export interface TokenCorpus {
  readonly length: number;
  at(index: number): Int32Array;
  lengthOf(index: number): number;
}

export function tokenCorpus(sequences: Iterable<readonly number[]>): TokenCorpus {
  const starts: number[] = [0];
  let ids = new Int32Array(1 << 16);
  let used = 0;
  for (const sequence of sequences) {
    if (used + sequence.length > ids.length) {
      const grown = new Int32Array(Math.max(ids.length * 2, used + sequence.length));
      grown.set(ids.subarray(0, used));
      ids = grown;
    }
    ids.set(sequence, used);
    used += sequence.length;
    starts.push(used);
  }
  return {
    length: starts.length - 1,
    at: (index) => ids.subarray(starts[index]!, starts[index + 1]!),
    lengthOf: (index) => starts[index + 1]! - starts[index]!,
  };
}
