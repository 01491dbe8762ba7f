/**
 * The shapes of Penn Treebank tokens, for `ptb-tokenizer.ts`: at each position the longest one is taken. Each shape was
 * found by asking CoreNLP 3.4.1 about captions and made-up strings; the lists of abbreviations by asking about every string
 * of up to four letters and the words of caption sets.
 */

/** One kind of token. */
export interface Shape {
  /** Sticky: matches at `lastIndex`. */
  readonly pattern: RegExp;
  /** What the match is written as, when not as it stands: one token or several. */
  readonly split?: (text: string) => readonly string[];
}

/** Abbreviations that keep their full stop wherever they stand, in any case. */
const ABBREVIATIONS =
  'adj adm adv al ala alex apr ariz assn assoc asst atty attys aug ave bancorp bhd bldg blvd brig bros calif capt cf cie ' +
  'cmdr co col colo comdr conn corp cos cpl ct dak dec dept det dr drs elec ens esq est etc ext feb fla fri ft ga gen gov ' +
  'govs hon inc ind insp intl invt jan jos jr jul jun kan kans ky lieut lt ltd maj mar md messrs mich minn mlle mme mo mon ' +
  'mont mr mrs ms msgr mt natl neb nev nov oct okla penn pfc ph plc pres prof profs pvt rd rep reps rev rt sen sens sep ' +
  'sept seq sfc sgt spc sq sr st ste supt supts sys tel tenn thu thurs tue tues univ va vs vt wed wis wisc wm wyo';
/** … and those that do so only with a capital: in lower case they are words. */
const CAPITAL_ABBREVIATIONS = 'Ark Az Del Ill La Mass Miss Ore Pa Tex Wash ARK AZ DEL ILL LA MASS MISS ORE PA TEX WASH';
/** … and those that do not in upper case. */
const LOWER_ABBREVIATIONS = '[Mm]fg [Mm]tg [Pp]pte [Pp]pty [Pp]tes? [Pp]tys?';
/** Abbreviations that need a number after them. */
const BEFORE_NUMBER = 'art ca figs? nos? op pp prop';

/** Words that begin a sentence: before one, a single letter and its full stop are two tokens. */
const SENTENCE_STARTERS =
  'A About According After An As At But Earlier He Her Here However If In It Last Many More Now Once One Other Our She Since ' +
  'So Some Such That The Their Then There These They This We What When While Yet You';

function anyOf(words: string): string {
  return `(?:${words.split(' ').join('|')})`;
}
/** Matches the words in any case. */
function anyCase(words: string): string {
  return anyOf(words).replace(/[a-z]/g, (letter) => `[${letter}${letter.toUpperCase()}]`);
}
function shape(source: string, split?: (text: string) => readonly string[]): Shape {
  const pattern = new RegExp(source, 'uy');
  return split === undefined ? { pattern } : { pattern, split };
}

/** Letters, with the marks and accents that go with them. */
const LETTERS = '\\p{L}\\u02c2-\\u02df\\u0300-\\u036f\\u0591-\\u05bd\\u064b-\\u065e\\u0900-\\u0903\\u093c-\\u094d\\u0e31\\u0e34-\\u0e3a';
const L = `[${LETTERS}]`;
const D = '\\p{Nd}';
const LD = `[${LETTERS}\\p{Nd}]`;
const AMP = '(?:&amp;|&)';
/** Where other signs are tokens; elsewhere (emoji) they are dropped. */
const SYMBOL_BLOCKS = '[\\u00a1-\\u03f6\\u055a-\\u060c\\u2013-\\u2044\\u2070-\\u209f\\u2100-\\u214f\\u2155-\\u215e\\u2190-\\u2bff\\u3001\\u3002\\u3012\\u30fb\\uff01-\\uffe1\\uffe5\\uffe6]';
/** The apostrophe in its spellings. */
const A = "(?:['\u2019\u0092]|&apos;)";
const LEANING = anyCase('s m d ll re ve');
const CONTRACTION = `(?:'${LEANING}(?![A-Za-z])|(?:\u2019|\u0092|&apos;)${LEANING})`;
const WORD = `${D}*${L}${LD}*`;
const TAG = '<\\/?[A-Za-z][A-Za-z0-9:._-]*(?: [^<>\\n\'="]*(?:="[^"<>\\n]*"[^<>\\n\'="]*)*)?\\/?>';
const SENTENCE_START = `(?:${anyOf(SENTENCE_STARTERS)}|${TAG})\\s`;
const straight = (text: string): readonly string[] => [text.replace(/[\u2019\u0092]|&apos;/g, "'")];
const atEnd = (length: number) => (text: string): readonly string[] => [text.slice(0, -length), text.slice(-length)];
const atStart = (length: number) => (text: string): readonly string[] => [text.slice(0, length), text.slice(length)];
const as = (token: string) => (): readonly string[] => [token];

/** The blanks within a number or a tag become no-break spaces: it is one token. */
const joined = (text: string): readonly string[] => [text.replaceAll(' ', '\u00a0')];
const BRACKETS: Readonly<Record<string, string>> = { '(': '-lrb-', ')': '-rrb-', '[': '-lsb-', ']': '-rsb-', '{': '-lcb-', '}': '-rcb-' };
const named = (text: string): string => text.replace(/[()]/g, (mark) => BRACKETS[mark] ?? mark);
/** A bracket by name; in a face only round ones are named. */
const brackets = (text: string): readonly string[] => [text.length === 1 ? (BRACKETS[text] ?? text) : named(text)];
/** Typographic quotes in the Treebank's spelling. */
const quotes = (text: string): readonly string[] => [
  text.replace(/[“«]/g, '``').replace(/[”»]/g, "''").replace(/[‘‹]/g, '`').replace(/[’›]/g, "'"),
];

export const SHAPES: readonly Shape[] = [
  // Words, with the auxiliary or the genitive that leans on them cut off.
  shape(`${anyCase('cannot')}(?!${LD})`, atStart(3)),
  shape(`${anyCase('gonna gotta wanna gimme lemme')}(?!${LD})`, atEnd(2)),
  shape(`[A-Za-z]*[A-MO-Za-mo-z](?<then>[nN]${A}[tT])`),
  shape(`[nN]${A}[tT](?!${L})`, straight),
  shape(CONTRACTION, straight),
  shape(`${WORD}(?<then>${A}${LEANING})`),
  shape(WORD),
  // Apostrophes that belong to the word.
  shape(`[A-HJ-MO-XZdlo](?:${A}|\u0060)${L}${LD}+`),
  shape(`[Nn](?:${A}|\u0060)${L}{2,}`),
  shape(`[A-Za-z][a-z]*[aeiouy]${A}[aeiou][a-z]*`),
  shape(`[dDjJlL]${A}|[yY]${A}(?=${L})`),
  shape(anyCase("ol' li'l e'er o'clock ev'ry s'mores c'mon nat'l nor'easter cap'n 'em 'till? 'cause dunkin' somethin'").replaceAll("'", A)),
  shape(`'[tT](?<then>${anyCase('is was')})`),
  shape(`${A}(?:[2-9]0s|${D}{2}(?=\\s))`),
  shape(`'[nN](?:'|(?=\\s))|[\u2019\u0092][nN]${A}?`),
  // Compounds.
  shape(`${LD}+(?:(?:[.,]?-|[_\u2010\u2011])${LD}+)+`),
  shape('[A-Za-z0-9]+(?:(?:[-_]|\\\\?/)[A-Za-z0-9]+)+'),
  shape(`${LD}+(?:-${LD}+)*\\.(?=[,;:])`),
  shape(`${L}${LD}*(?:\\.${L}${LD}*)+`),
  shape('[A-Z]+\\+[A-Z]+'),
  shape(`${L}${LD}*[!?]${L}${LD}*`),
  shape(`[A-Z]+${AMP}[A-Z]+`, (text) => [text.replace('&amp;', '&')]),
  // Abbreviations.
  shape(`[A-Za-z](?!\\.\\s+${SENTENCE_START})\\.`),
  shape('(?:[A-Za-z]\\.){2,}'),
  shape(`${anyCase('ed ph')}\\.[dD]\\.`),
  shape(`(?:${anyCase(ABBREVIATIONS)}|${anyOf(CAPITAL_ABBREVIATIONS)}|${anyOf(LOWER_ABBREVIATIONS)})\\.`),
  shape(`${anyCase(BEFORE_NUMBER)}\\.(?= ?${D})`),
  // Numbers.
  shape(`[-+]?${D}*(?:[.,:]${D}+)*`),
  shape(`${D}+ ${D}+/${D}+`, joined),
  shape(`(?:\\(${D}{2,3}\\) ?|${D}{2,4}[- ])${D}{3,4}[- ]?${D}{3,5}(?!${D})`, (text) => joined(text).map(named)),
  shape(TAG, joined),
  // Names on the net.
  shape('(?:https?|HTTPS?)://[^\\s"<>|(){}]+[^\\s"<>|(){}.!?,-]'),
  shape('[A-Za-z][A-Za-z0-9]*(?:\\.[A-Za-z0-9]+)*\\.(?:com|net|org|edu)(?:/[^\\s"<>|(){}]+[^\\s"<>|(){}.!?,-])?'),
  shape('<?[A-Za-z0-9][^\\s"<>|(){}@]{0,100}@(?:[^\\s"<|(){}.]+\\.)*[^\\s"<|(){}.]+'),
  shape(`#${L}+`),
  shape('@[A-Za-z_][A-Za-z0-9_]*'),
  shape('[cCfF]#|[cC]\\+\\+'),
  // Faces.
  shape(`[<>]?[:;=][-o*']?[()[\\]{\\\\|@OdDpP](?!${LD})`, brackets),
  shape("[-^x=~<>']_[-^x=~<>']"),
  // Marks.
  shape('\\.\\.\\.+|…', as('...')),
  shape('-{2,4}|[–—―]|&[mn]dash;', as('--')),
  shape('-{5,}'),
  shape('[?!]+'),
  shape('\\\\?\\*+|__+|##+|@@+|<<|>>'),
  shape('[.,:;%#@_+=*~^|/<>&$\\\\-]'),
  shape('[A-Z]{1,3}\\$'),
  shape('&amp;', as('&')),
  shape('&#[0-9]+;'),
  shape('&lt;', as('<')),
  shape('&gt;', as('>')),
  shape("''|[\"']|&quot;|&apos;", as("''")),
  shape('[`‘’“”„‚«»‹›]{1,2}', quotes),
  shape('[()[\\]{}]', brackets),
  shape('£', as('#')),
  shape('€', as('$')),
  shape('¢', as('cents')),
  shape('½', as('1/2')),
  shape('¼', as('1/4')),
  shape('¾', as('3/4')),
  shape('¤', as('$')),
  shape('⅓', as('1/3')),
  shape('⅔', as('2/3')),
  shape(`(?=${SYMBOL_BLOCKS})[\\p{S}\\p{P}\\p{No}]`),
];
