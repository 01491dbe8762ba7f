/**
 * How METEOR 1.5 sees a line under `-norm`: a tokeniser of its own over what it is given, which for published caption figures is PTB
 * tokens joined by blanks. It parts hyphenated words, contractions, commas and full stops. Upper-case abbreviations (`Mr.`) are not
 * told apart: PTB tokens are lower case here. Checked against meteor-1.5.jar on whole files (`meteor.test.ts`).
 */

// The letters of Latin, Greek-free Cyrillic and phonetic blocks that the tool counts as such.
const ALPHA = 'A-Za-zŠŽšžŸÀ-ÖØ-öø-žЀ-ӿԀ-ԧꙀ-ꙮ꙾-ꚗᴀ-ᵿ';
const ALNUM = `0-9${ALPHA}`;

/** In this order; each sees what the one before left. */
const RULES: readonly (readonly [RegExp, string])[] = [
  [new RegExp(`([^${ALNUM}\\s.'\`,\\-‘’])`, 'gu'), ' $1 '], // marks of all other kinds
  [/([^0-9]),([^0-9])/gu, '$1 , $2'],
  [/([0-9]),([^0-9])/gu, '$1 , $2'],
  [/([^0-9]),([0-9])/gu, '$1 , $2'],
  [/[`‘’]/gu, "'"],
  [/[“”]|''/gu, ' " '],
  [/–/gu, '-'],
  [/--/gu, '-'],
  [new RegExp(`([${ALNUM}.])-([${ALNUM}])`, 'gu'), '$1 $2'],
  [new RegExp(`([^${ALPHA}])'([^${ALPHA}])`, 'gu'), "$1 ' $2"],
  [new RegExp(`([^${ALPHA}0-9])'([${ALPHA}])`, 'gu'), "$1 ' $2"],
  [new RegExp(`([${ALPHA}])'([^${ALPHA}])`, 'gu'), "$1 ' $2"],
  [new RegExp(`([${ALPHA}])'([${ALPHA}])`, 'gu'), "$1 '$2"],
  [/([0-9])'s/gu, "$1 's"],
];

const HAS_LETTER = new RegExp(`[${ALPHA}]`, 'u');

/** Lower-case abbreviations that keep their full stop whatever follows. */
const ABBREVIATIONS: ReadonlySet<string> = new Set(['v', 'vs', 'rev']);

/** `u.s.` → `us`; a sentence's last full stop is a word of its own, one inside a sentence stays. */
function fullStop(word: string, next: string | undefined): string[] {
  if (word.length < 2 || !word.endsWith('.')) return [word];
  const before = word.slice(0, -1);
  if (before.includes('.') && HAS_LETTER.test(before)) return [word.replaceAll('.', '')];
  if (ABBREVIATIONS.has(before) || (next !== undefined && /^[a-z]/.test(next))) return [word];
  if (before === 'pp' && next !== undefined && /^[0-9]/.test(next)) return [word];
  return [before, '.'];
}

/** Words as METEOR counts them, lower case. */
export function meteorWords(line: string): string[] {
  let text = ` ${line} `.replace(/\.{2,}/g, (dots) => ` ${dots} `);
  for (const [pattern, by] of RULES) text = text.replace(pattern, by);
  const words = text.split(/[ \t\n\r\f]+/).filter((word) => word !== '');
  return words
    .flatMap((word, i) => (/^\.+$/.test(word) ? [word] : fullStop(word, words[i + 1])))
    .flatMap((word) => word.split(/[\u2000-\u200a\u202f\u205f\u3000\u00a0]+/))
    .filter((word) => word !== '')
    .map((word) => word.toLowerCase());
}
