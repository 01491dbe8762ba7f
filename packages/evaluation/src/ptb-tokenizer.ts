/**
 * The tokenizer that caption scores assume: what pycocoevalcap's `PTBTokenizer` gives for a caption, which is the Penn
 * Treebank tokenizer of Stanford CoreNLP 3.4.1 (`-preserveLines -lowerCase`) with a fixed list of punctuation tokens taken
 * out afterwards. Written from the Treebank's conventions and from what the program answers, not from its sources; fixtures
 * of its answers are in `fixtures/ptb.json.gz`. Next: `ptb-rules.ts`, the shapes of tokens.
 */
import { SHAPES, type Shape } from './ptb-rules.ts';

/**
 * Tokens that pycocoevalcap takes out, as they are after lower-casing. Its list has `-LRB-` and its kin in upper case, so
 * that brackets (`-lrb-`) stay, and `!!`, `??` are not in it: both are kept here as well.
 */
const PUNCTUATION: ReadonlySet<string> = new Set(["''", "'", '``', '`', '.', '?', '!', ',', ':', '-', '--', '...', ';']);

/** A plain word before a blank: most of a caption, and no shape begins there and ends later. */
const PLAIN_WORD = /[A-Za-z]+(?![^ \n])/y;
const BLANK = /(?:[^\S\n]|&nbsp;)+/y;
/** Plain words that are two tokens in the Treebank. */
const TWO_WORDS: ReadonlyMap<string, readonly [string, string]> = new Map([
  ['cannot', ['can', 'not']],
  ['gonna', ['gon', 'na']],
  ['gotta', ['got', 'ta']],
  ['wanna', ['wan', 'na']],
  ['gimme', ['gim', 'me']],
  ['lemme', ['lem', 'me']],
]);

/** The longest shape at `start`; the earlier of two that are as long. */
function longestShape(text: string, start: number): { shape: Shape; end: number } | undefined {
  let longest = 0;
  let best: { shape: Shape; end: number } | undefined;
  for (const shape of SHAPES) {
    shape.pattern.lastIndex = start;
    const match = shape.pattern.exec(text);
    if (match === null || match[0].length <= longest) continue;
    longest = match[0].length;
    best = { shape, end: start + longest - (match.groups?.['then']?.length ?? 0) };
  }
  return best;
}

/**
 * The tokens of each caption, lower case, without punctuation, as the program gives them for a file with a caption a line. The
 * next line matters in one case: a single letter at the end of a caption keeps its full stop unless a sentence follows.
 * A line break within a caption counts as a blank.
 */
export function ptbTokenizeAll(captions: readonly string[]): string[][] {
  const text = captions.map((caption) => caption.replaceAll('\n', ' ')).join('\n');
  const lines: string[][] = captions.map(() => []);
  let line = 0;
  let position = 0;
  while (position < text.length) {
    const tokens = lines[line];
    if (tokens === undefined) break;
    PLAIN_WORD.lastIndex = position;
    BLANK.lastIndex = position;
    if (PLAIN_WORD.test(text)) {
      const word = text.slice(position, PLAIN_WORD.lastIndex).toLowerCase();
      tokens.push(...(TWO_WORDS.get(word) ?? [word]));
      position = PLAIN_WORD.lastIndex;
    } else if (text[position] === '\n') {
      line += 1;
      position += 1;
    } else if (BLANK.test(text)) {
      position = BLANK.lastIndex;
    } else {
      const found = longestShape(text, position);
      if (found === undefined) {
        position += 1; // a character the tokenizer does not know is dropped
        continue;
      }
      const matched = text.slice(position, found.end);
      for (const token of found.shape.split?.(matched) ?? [matched]) {
        const lower = token.toLowerCase();
        if (!PUNCTUATION.has(lower)) tokens.push(lower);
      }
      position = found.end;
    }
  }
  return lines;
}

/**
 * The tokens of one caption: `"A man's T-shirt."` gives `a`, `man`, `'s`, `t-shirt`. A token holds a no-break space where a
 * whole number stands before a fraction (`3 1/2`).
 *
 * @example
 * ```ts
 * ptbTokenize("He can't see the dog, but it's there."); // he ca n't see the dog but it 's there
 * ```
 */
export function ptbTokenize(caption: string): string[] {
  return ptbTokenizeAll([caption])[0] ?? [];
}
