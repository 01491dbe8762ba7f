/**
 * Stop texts while tokens are being chosen (HF `StopStringCriteria`): a text ends with the token that completes one of them. The loop
 * has no tokenizer, so it is given what each token adds to a text. What that cannot show, half of a character in a byte-level token, the
 * caller finds in the decoded text.
 */

export interface StopStrings {
  readonly strings: readonly string[];
  /** By token id: what it adds to a text that goes before; special tokens add nothing. */
  readonly pieces: readonly string[];
}

/** Does the last of these tokens complete a stop text? */
export function stopTest({ strings, pieces }: StopStrings): (ids: readonly number[]) => boolean {
  const longest = Math.max(0, ...strings.map((one) => one.length));
  return (ids) => {
    const last = pieces[ids.at(-1) ?? -1] ?? '';
    if (last === '' || longest === 0) return false;
    let text = last;
    for (let i = ids.length - 2; i >= 0 && text.length < longest - 1 + last.length; i--) text = (pieces[ids[i]!] ?? '') + text;
    // One that had ended before the last token would have ended the text then.
    return strings.some((one) => {
      const at = text.lastIndexOf(one);
      return at >= 0 && at + one.length > text.length - last.length;
    });
  };
}
