/**
 * What every attention here shares: additive masks that keep padded rows finite, grouped heads, and where keys and values are kept.
 * Training, prefill and decoding run the same blocks; they differ in the {@link Memory} that a layer hands its keys and values to.
 */
import type { Dim, Shape, Tensor } from '@querent/core';
import { add, and, cast, filled, fusedMatMul, greater, lessOrEqual, range, reshape, scalar, softmax, sub, unsqueeze, where } from '@querent/graph';

/**
 * The most negative float32. Not -Infinity: a fully masked row (left padding) then is uniform and finite instead of NaN that spreads.
 */
const LOWEST = -3.4028234663852886e38;

/**
 * Takes a layer's new keys and values [batch, heads, tokens, headWidth] and gives those to attend to: the same ones, or a cache with
 * the new ones written into it.
 */
export type Memory = (layer: number, key: Tensor, value: Tensor) => readonly [Tensor, Tensor];

/** Keys and values stay what they are: training. */
export const forget: Memory = (_layer, key, value) => [key, value];

/** Keys and values stay what they are and are noted under `0.key`, `0.value`, …: prefill. */
export function remember(present: Map<string, Tensor>, infix = ''): Memory {
  return (layer, key, value) => {
    present.set(`${layer}.${infix}key`, key);
    present.set(`${layer}.${infix}value`, value);
    return [key, value];
  };
}

/** An int64 [batch, keys] mask (1 = may be looked at) as an additive one: [batch, 1, 1, keys]. */
export function paddingMask(mask: Tensor): Tensor {
  return additive(unsqueeze(greater(mask, 0), [1, 2]));
}

/** The same, and no token sees a later one, nor one further back than `window`: [batch, 1, tokens, tokens]. */
export function causalMask(mask: Tensor, window?: number): Tensor {
  const tokens = mask.shape[1]!;
  const positions = range(mask, tokens);
  const keys = unsqueeze(positions, [0]); // [1, tokens]
  const queries = unsqueeze(positions, [1]); // [tokens, 1]
  const isPast = lessOrEqual(keys, queries); // [tokens, tokens]
  const isSeen = window === undefined ? isPast : and(isPast, greater(keys, sub(queries, window)));
  return additive(and(unsqueeze(isSeen, [0, 1]), unsqueeze(greater(mask, 0), [1, 2])));
}

/**
 * New tokens over a cache that they are written into from slot `writeIndices` [batch] on: each sees what `mask` [batch, cache] lets be seen
 * up to its own slot, and no further back than `window`. [batch, 1, tokens, cache].
 */
export function cachedMask(mask: Tensor, writeIndices: Tensor, tokens: Dim, window?: number): Tensor {
  const slots = unsqueeze(range(mask, mask.shape[1]!), [0, 1]); // [1, 1, cache]
  const own = unsqueeze(add(unsqueeze(writeIndices, [1]), unsqueeze(range(mask, tokens), [0])), [2]); // [batch, tokens, 1]
  const isPast = lessOrEqual(slots, own); // [batch, tokens, cache]
  const isSeen = window === undefined ? isPast : and(isPast, greater(slots, sub(own, window)));
  return additive(unsqueeze(and(isSeen, unsqueeze(greater(mask, 0), [1])), [1]));
}

function additive(isAllowed: Tensor): Tensor {
  return where(isAllowed, scalar(isAllowed, 0), scalar(isAllowed, LOWEST));
}

/** int64 ones: the mask of what is never padded. */
export function ones(owner: Tensor, shape: Shape): Tensor {
  return cast(filled(owner, shape, 1), 'int64');
}

export interface AttendOptions {
  /** Additive, broadcasts to [batch, heads, queries, keys]; absent: everything is seen. */
  readonly mask?: Tensor;
  /** Multiplies `q kᵀ`. */
  readonly scale: number;
}

/**
 * Attention of q [batch, heads, queries, headWidth] over k, v [batch, keyHeads, keys, headWidth]. Where there are fewer key heads
 * (grouped-query attention), each serves `heads / keyHeads` neighbours: their rows are one taller matrix, so nothing is repeated.
 */
export function attend(q: Tensor, k: Tensor, v: Tensor, options: AttendOptions): Tensor {
  const [batch, heads, queries, headWidth] = q.shape as [Shape[number], number, Shape[number], number];
  const keyHeads = k.shape[1]!;
  const rows = reshape(q, [batch, keyHeads, -1, headWidth]); // [batch, keyHeads, groups * queries, headWidth]
  const scores = fusedMatMul(rows, k, { transB: true, alpha: options.scale }); // [batch, keyHeads, groups * queries, keys]
  if (options.mask === undefined) return reshape(fusedMatMul(softmax(scores), v), q.shape);
  const masked = add(reshape(scores, [batch, heads, queries, k.shape[2]!]), options.mask); // [batch, heads, queries, keys]
  const probabilities = reshape(softmax(masked), scores.shape);
  return reshape(fusedMatMul(probabilities, v), q.shape); // [batch, heads, queries, headWidth]
}
