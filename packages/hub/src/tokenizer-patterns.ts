/**
 * The regular expressions of a `tokenizer.json` are run on every text, and JavaScript's engine goes back over what it has tried: a
 * repetition inside a repeated group, `(a+)+`, can take longer than anyone lives. No tokenizer of the families needs one, so a file that
 * has one is refused before it is run.
 */

const LONGEST = 4096;

/** The first pattern of the document that could run without end. */
export function endlessPattern(document: object): string | undefined {
  const waiting: unknown[] = [document];
  for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
    if (typeof value !== 'object' || value === null) continue;
    for (const [key, inner] of Object.entries(value)) {
      if (key === 'Regex' && typeof inner === 'string' && (inner.length > LONGEST || repeatsARepetition(inner))) return inner;
      if (key !== 'vocab' && key !== 'merges' && typeof inner === 'object' && inner !== null) waiting.push(inner);
    }
  }
  return undefined;
}

/** Is there a group that is repeated without bound and itself repeats something without bound, or repeats alternatives? */
function repeatsARepetition(pattern: string): boolean {
  const groups: boolean[] = [];
  let isInClass = false;
  let last = false; // the group that was closed just before
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern[i];
    const isUnbounded = character === '*' || character === '+' || (character === '{' && /^\{\d+,\}/.test(pattern.slice(i, i + 12)));
    if (character === '\\') i++;
    else if (isInClass) isInClass = character !== ']';
    else if (character === '[') isInClass = true;
    else if (character === '(') groups.push(false);
    else if (character === ')') {
      last = groups.pop() === true;
      if (last && groups.length > 0) groups[groups.length - 1] = true; // what it repeats, whoever is around it repeats
      continue;
    } else if (isUnbounded && !(character === '+' && /[*+?}]/.test(pattern[i - 1] ?? '') && pattern[i - 2] !== '\\')) {
      if (last) return true;
      if (groups.length > 0) groups[groups.length - 1] = true;
    }
    last = false;
  }
  return false;
}
