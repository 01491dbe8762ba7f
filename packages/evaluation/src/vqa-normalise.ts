/**
 * Answers as the public VQA tool compares them (visualqa.org, `vqaEval.py`), its quirks included, so that figures compare with
 * published ones: punctuation, numbers, articles, contractions.
 */

const PUNCTUATION = [';', '/', '[', ']', '"', '{', '}', '(', ')', '=', '+', '\\', '_', '-', '>', '<', '@', '`', ',', '?', '!'] as const;
const DIGIT_COMMA_DIGIT = /\p{Nd},\p{Nd}/u;
/** A period that no digit follows. The tool means to look at the digit before it as well, but its pattern does not. */
const PERIOD = /\.(?!\p{Nd})/gu;
/** The tool hands a flag to its replacement as a count: later periods stay. */
const MOST_PERIODS = 32;

const NUMBERS: Readonly<Record<string, string>> = { none: '0', zero: '0', one: '1', two: '2', three: '3', four: '4', five: '5', six: '6', seven: '7', eight: '8', nine: '9', ten: '10' };
const ARTICLES: ReadonlySet<string> = new Set(['a', 'an', 'the']);

/** Spelled as they should be; each is found when exactly one of its apostrophes is missing. */
const CONTRACTIONS = `
  ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's how'd how'll how's
  isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've
  should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've
  something'll that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll
  what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't
  wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've`;

const REPAIRED: ReadonlyMap<string, string> = new Map([
  ...CONTRACTIONS.trim()
    .split(/\s+/)
    .flatMap((right) => [...right.matchAll(/'/g)].map(({ index }): [string, string] => [right.slice(0, index) + right.slice(index + 1), right])),
  ["somebody'd", 'somebodyd'], // the tool's table has this one the wrong way round
]);

/** Punctuation only: what references go through. */
export function normalisePunctuation(text: string): string {
  let out = text;
  const isNumber = DIGIT_COMMA_DIGIT.test(text);
  for (const mark of PUNCTUATION) out = out.replaceAll(mark, isNumber || text.includes(`${mark} `) || text.includes(` ${mark}`) ? '' : ' ');
  let removed = 0;
  return out.replace(PERIOD, (period) => (removed++ < MOST_PERIODS ? '' : period));
}

/** An answer of a model, in full: what is compared with references. */
export function normaliseAnswer(text: string): string {
  const words = normalisePunctuation(text.replace(/[\n\t]/g, ' ').trim()).toLowerCase().split(/\s+/);
  return words
    .filter((word) => word !== '')
    .map((word) => (Object.hasOwn(NUMBERS, word) ? NUMBERS[word]! : word))
    .filter((word) => !ARTICLES.has(word))
    .map((word) => REPAIRED.get(word) ?? word)
    .join(' ');
}
