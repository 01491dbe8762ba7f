/**
 * From the names that a graph declares to the bytes that a checkpoint has. Scopes spell HuggingFace's names, so this is a
 * look-up and no translation; what it adds is a good answer when something does not fit.
 */
import { QuerentError, type GraphParameter, type ParameterData } from '@querent/core';

export interface MatchOptions {
  /** The weight file or model folder, for errors. */
  readonly file: string;
  /** Put before every declared name to find it in the checkpoint, for instance `vision_model.`. */
  readonly prefix?: string;
}

export interface MatchedParameters {
  /** By declared name. */
  readonly parameters: ReadonlyMap<string, ParameterData>;
  /** Names in the checkpoint (under the prefix) that nothing asked for, without the known redundant ones. */
  readonly extra: readonly string[];
}

/** Buffers that older checkpoints carry and nobody needs, and duplicates that transformers writes for tied weights. */
const REDUNDANT = /(^|\.)(position_ids|inv_freq|num_batches_tracked|attn\.bias|attention\.bias|masked_bias|lm_head\.weight|embed_tokens\.weight|cls\.predictions\.decoder\.(weight|bias))$/;

/** How many problems an error spells out; `details` has them all. */
const SHOWN = 3;

/** How a checkpoint fits what a model declares. Names are the checkpoint's. */
export interface ParameterComparison extends MatchedParameters {
  readonly missing: readonly string[];
  readonly misshaped: readonly MisshapedTensor[];
  /** Names that nothing asked for and nobody needs: buffers and duplicates of tied weights. */
  readonly redundant: readonly string[];
}

export interface MisshapedTensor {
  readonly name: string;
  readonly expected: readonly number[];
  readonly found: readonly number[];
}

/** Looks each declared parameter up. A dtype may differ (the reader converts), a shape may not. */
export function compareParameters(
  declared: ReadonlyMap<string, Pick<GraphParameter, 'shape'>>,
  available: ReadonlyMap<string, ParameterData>,
  prefix = '',
): ParameterComparison {
  const parameters = new Map<string, ParameterData>();
  const missing: string[] = [];
  const misshaped: MisshapedTensor[] = [];
  for (const [name, { shape }] of declared) {
    const found = available.get(prefix + name);
    if (found === undefined) missing.push(prefix + name);
    else if (!sameShape(found.shape, shape)) misshaped.push({ name: prefix + name, expected: shape, found: found.shape });
    else parameters.set(name, found);
  }
  const others = [...available.keys()].filter((name) => name.startsWith(prefix) && !declared.has(name.slice(prefix.length)));
  return { parameters, missing, misshaped, extra: others.filter((name) => !REDUNDANT.test(name)), redundant: others.filter((name) => REDUNDANT.test(name)) };
}

/**
 * Finds each declared parameter, as {@link compareParameters} does.
 * @throws QuerentError QRT_CHECKPOINT_MISMATCH listing all missing and misshaped tensors at once, with near names;
 *   `details` is `{ file, missing, misshaped }`.
 */
export function matchParameters(
  declared: ReadonlyMap<string, Pick<GraphParameter, 'shape'>>,
  available: ReadonlyMap<string, ParameterData>,
  options: MatchOptions,
): MatchedParameters {
  const { parameters, missing, misshaped, extra } = compareParameters(declared, available, options.prefix);
  if (missing.length + misshaped.length > 0) throw mismatch(options.file, missing, misshaped, extra);
  return { parameters, extra };
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}

function mismatch(file: string, missing: readonly string[], misshaped: readonly MisshapedTensor[], extra: readonly string[]): QuerentError {
  const sentences: string[] = [];
  for (const { name, expected, found } of misshaped.slice(0, SHOWN)) {
    sentences.push(`${name} is ${shown(found)}; the config asks for ${shown(expected)}.`);
  }
  if (misshaped.length > SHOWN) sentences.push(`${misshaped.length - SHOWN} more tensors have another shape.`);
  for (const name of missing.slice(0, SHOWN)) {
    const near = nearest(name, extra);
    sentences.push(`${name} is missing${near === undefined ? '' : ` (the file has ${near})`}.`);
  }
  if (missing.length > SHOWN) sentences.push(`${missing.length - SHOWN} more tensors are missing.`);
  return new QuerentError('QRT_CHECKPOINT_MISMATCH', `${file} does not fit its config. ${sentences.join(' ')}`, {
    fix: 'Is config.json from another model? `querent inspect` on the folder lists all tensors.',
    details: { file, missing, misshaped },
  });
}

function shown(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

/** The unused name that is most alike, when it is alike at all: sharing the last part, or nearly all characters. */
function nearest(name: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestScore = 0;
  for (const candidate of candidates.slice(0, 5000)) {
    const score = likeness(name, candidate);
    if (score > bestScore) [best, bestScore] = [candidate, score];
  }
  return bestScore >= 0.6 ? best : undefined;
}

/** Dotted parts that agree from either end, of the longer name's parts: 1 when equal. Parts are compared by letters (Dice). */
function likeness(a: string, b: string): number {
  const left = a.split('.');
  const right = b.split('.');
  const longer = Math.max(left.length, right.length);
  let score = 0;
  let i = 0;
  while (i < left.length && i < right.length && left[i] === right[i]) i++;
  let j = 0;
  while (j < left.length - i && j < right.length - i && left.at(-1 - j) === right.at(-1 - j)) j++;
  score = i + j;
  const a1 = left[i];
  const b1 = right[i];
  if (a1 !== undefined && b1 !== undefined && i + j < longer) score += pairsInCommon(a1, b1);
  return score / longer;
}

/** Dice's coefficient of letter pairs. */
function pairsInCommon(a: string, b: string): number {
  const pairs = (text: string): Set<string> => new Set(Array.from({ length: Math.max(0, text.length - 1) }, (_, i) => text.slice(i, i + 2)));
  const [x, y] = [pairs(a), pairs(b)];
  const common = [...x].filter((pair) => y.has(pair)).length;
  return x.size + y.size === 0 ? 0 : (2 * common) / (x.size + y.size);
}
