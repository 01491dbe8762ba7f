/**
 * From token ids to text while it is being written: deltas are what has become certain, and together they are the final text.
 * Held back are half a character (a byte-level token), trailing blanks, and what may be the beginning of a stop text.
 */
import type { Tokenizer } from '@querent/hub';

/** A byte-level token that is not a whole character yet decodes to this. */
const INCOMPLETE = '\uFFFD';

/** One row's text. */
export class RowText {
  readonly ids: number[] = [];
  readonly #tokenizer: Tokenizer;
  readonly #stop: readonly string[];
  #sent = '';
  #logProb = 0;
  /** Did a stop text come? Then nothing more is taken. */
  isStopped = false;

  constructor(tokenizer: Tokenizer, stop: readonly string[]) {
    this.#tokenizer = tokenizer;
    this.#stop = stop;
  }

  /** Mean log-probability so far. */
  get score(): number {
    return this.ids.length === 0 ? 0 : this.#logProb / this.ids.length;
  }

  /** Takes a token; the text that is certain now, perhaps empty. */
  add(id: number, logProb: number): string {
    if (this.isStopped) return '';
    this.ids.push(id);
    this.#logProb += logProb;
    const text = this.#decode(this.ids);
    const stopped = cutAtStop(text, this.#stop);
    if (stopped !== undefined) {
      this.isStopped = true;
      return this.#send(stopped.trimEnd());
    }
    if (text.endsWith(INCOMPLETE)) return '';
    return this.#send(text.slice(0, text.length - heldBack(text, this.#stop)).trimEnd());
  }

  /** What was held back, when the row has ended with these tokens; and the whole text. */
  finish(ids: readonly number[]): { readonly delta: string; readonly text: string; readonly isStopped: boolean } {
    const whole = this.isStopped ? this.#decode(this.ids) : this.#decode(ids);
    const stopped = cutAtStop(whole, this.#stop);
    const text = (stopped ?? whole).trim();
    return { delta: this.#send(text), text, isStopped: stopped !== undefined };
  }

  #decode(ids: readonly number[]): string {
    return this.#tokenizer.decode(ids, { skipSpecialTokens: true }).trimStart();
  }

  #send(text: string): string {
    if (!text.startsWith(this.#sent)) return '';
    const delta = text.slice(this.#sent.length);
    this.#sent = text;
    return delta;
  }
}

/** The text before the first stop text that is in it. */
function cutAtStop(text: string, stop: readonly string[]): string | undefined {
  const at = stop.map((one) => text.indexOf(one)).filter((index) => index >= 0);
  return at.length === 0 ? undefined : text.slice(0, Math.min(...at));
}

/** Length of the longest end of `text` that a stop text begins with. */
function heldBack(text: string, stop: readonly string[]): number {
  let held = 0;
  for (const one of stop) {
    for (let length = Math.min(one.length - 1, text.length); length > held; length--) {
      if (text.endsWith(one.slice(0, length))) held = length;
    }
  }
  return held;
}

const PIECES = new WeakMap<Tokenizer, readonly string[]>();

/**
 * What each token adds to a text that goes before, by id: decoded behind another token, because the first one of a text loses its blank
 * in some tokenizers. Special tokens add nothing. Made once a tokenizer.
 */
export function tokenPieces(tokenizer: Tokenizer): readonly string[] {
  const known = PIECES.get(tokenizer);
  if (known !== undefined) return known;
  const before = tokenizer.encode('a', { addSpecialTokens: false });
  const decode = (ids: readonly number[]): string => tokenizer.decode(ids, { skipSpecialTokens: true });
  const start = decode(before);
  const pieces = Array.from({ length: tokenizer.vocabSize }, (_, id) => {
    const text = decode([...before, id]);
    return text.startsWith(start) ? text.slice(start.length) : '';
  });
  PIECES.set(tokenizer, pieces);
  return pieces;
}
