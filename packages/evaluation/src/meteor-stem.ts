/**
 * The English Snowball stemmer ("Porter2", https://snowballstem.org/algorithms/english/stemmer.html), which METEOR's second matcher
 * compares words by. Written from the published description; checked word for word against the Snowball class inside meteor-1.5.jar
 * (`meteor.test.ts`).
 */

const VOWEL = '[aeiouy]';
const DOUBLE = /(?:bb|dd|ff|gg|mm|nn|pp|rr|tt)$/;
/** A short syllable at the end: consonant, vowel, consonant other than w, x, Y; or a vowel at the start before a consonant. */
const SHORT = /(?:[^aeiouy][aeiouy][^aeiouywxY]|^[aeiouy][^aeiouy])$/;
const HAS_VOWEL = new RegExp(VOWEL);

/** Words whose stem the rules would get wrong, of the description's two lists of exceptions. */
const EXCEPTIONS: ReadonlyMap<string, string> = new Map([
  ['skis', 'ski'], ['skies', 'sky'], ['dying', 'die'], ['lying', 'lie'], ['tying', 'tie'],
  ['idly', 'idl'], ['gently', 'gentl'], ['ugly', 'ugli'], ['early', 'earli'], ['only', 'onli'], ['singly', 'singl'],
  ...['sky', 'news', 'howe', 'atlas', 'cosmos', 'bias', 'andes'].map((word): [string, string] => [word, word]),
]);
const EXCEPTIONS_AFTER_PLURAL: ReadonlySet<string> = new Set(['inning', 'outing', 'canning', 'herring', 'earring', 'proceed', 'exceed', 'succeed']);

/** Step 2: suffix → what stands for it, in R1. */
const STEP_2: readonly (readonly [string, string])[] = [
  ['ization', 'ize'], ['ational', 'ate'], ['fulness', 'ful'], ['ousness', 'ous'], ['iveness', 'ive'], ['tional', 'tion'], ['biliti', 'ble'],
  ['lessli', 'less'], ['entli', 'ent'], ['ation', 'ate'], ['alism', 'al'], ['aliti', 'al'], ['ousli', 'ous'], ['iviti', 'ive'], ['fulli', 'ful'],
  ['enci', 'ence'], ['anci', 'ance'], ['abli', 'able'], ['izer', 'ize'], ['ator', 'ate'], ['alli', 'al'], ['bli', 'ble'], ['ogi', 'og'], ['li', ''],
];
/** Step 3, in R1; `ative` goes in R2 only. */
const STEP_3: readonly (readonly [string, string])[] = [
  ['ational', 'ate'], ['tional', 'tion'], ['alize', 'al'], ['icate', 'ic'], ['iciti', 'ic'], ['ative', ''], ['ical', 'ic'], ['ness', ''], ['ful', ''],
];
/** Step 4: what is deleted in R2; `ion` only after s or t. */
const STEP_4: readonly string[] = ['ement', 'ance', 'ence', 'able', 'ible', 'ment', 'ant', 'ent', 'ism', 'ate', 'iti', 'ous', 'ive', 'ize', 'ion', 'al', 'er', 'ic'];

/** Where R1 and R2 begin: after the first consonant that follows a vowel, and the same again within R1. */
function regions(word: string): { readonly r1: number; readonly r2: number } {
  const after = (from: number): number => {
    const found = /[aeiouy][^aeiouy]/.exec(word.slice(from));
    return found === null ? word.length : from + found.index + 2;
  };
  const prefix = /^(?:gener|commun|arsen)/.exec(word)?.[0];
  const r1 = prefix?.length ?? after(0);
  return { r1, r2: after(r1) };
}

/** The stem of a word. The word is lower case already. */
export function stemEnglish(given: string): string {
  if (given.length <= 2) return given;
  const exception = EXCEPTIONS.get(given);
  if (exception !== undefined) return exception;
  let word = given.replace(/^'/, '').replace(/^y/, 'Y').replace(/([aeiouy])y/g, '$1Y');
  const { r1, r2 } = regions(word);
  const cut = (suffix: string, by = ''): string => word.slice(0, word.length - suffix.length) + by;
  const inRegion = (suffix: string, region: number): boolean => word.length - suffix.length >= region;

  // 0 and 1a: genitives and plurals
  word = word.replace(/(?:'s'|'s|')$/, '');
  if (word.endsWith('sses')) word = cut('es');
  else if (/(?:ied|ies)$/.test(word)) word = cut('ied', word.length > 4 ? 'i' : 'ie');
  else if (/[^us]s$/.test(word) && HAS_VOWEL.test(word.slice(0, -2))) word = cut('s');
  if (EXCEPTIONS_AFTER_PLURAL.has(word)) return word;

  // 1b: past and present participles
  const participle = /(?:eedly|ingly|edly|eed|ing|ed)$/.exec(word)?.[0];
  if (participle === 'eed' || participle === 'eedly') {
    if (inRegion(participle, r1)) word = cut(participle, 'ee');
  } else if (participle !== undefined && HAS_VOWEL.test(cut(participle))) {
    word = cut(participle);
    if (/(?:at|bl|iz)$/.test(word)) word += 'e';
    else if (DOUBLE.test(word)) word = word.slice(0, -1);
    else if (word.length <= r1 && SHORT.test(word)) word += 'e';
  }

  // 1c: y after a consonant that is not the first letter
  if (/.[^aeiouy][yY]$/.test(word)) word = cut('y', 'i');

  const two = STEP_2.find(([suffix]) => word.endsWith(suffix));
  if (two !== undefined && inRegion(two[0], r1)) {
    const [suffix, by] = two;
    if (suffix === 'ogi' ? word.endsWith('logi') : suffix !== 'li' || /[cdeghkmnrt]li$/.test(word)) word = cut(suffix, by);
  }
  const three = STEP_3.find(([suffix]) => word.endsWith(suffix));
  if (three !== undefined && inRegion(three[0], three[0] === 'ative' ? r2 : r1)) word = cut(...three);
  const four = STEP_4.find((suffix) => word.endsWith(suffix));
  if (four !== undefined && inRegion(four, r2) && (four !== 'ion' || /[st]ion$/.test(word))) word = cut(four);

  // 5: a last e or l
  if (word.endsWith('e') && (inRegion('e', r2) || (inRegion('e', r1) && !SHORT.test(cut('e'))))) word = cut('e');
  else if (word.endsWith('ll') && inRegion('l', r2)) word = cut('l');
  return word.replaceAll('Y', 'y');
}
