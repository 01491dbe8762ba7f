/**
 * Who sees whom, as tensors that are added to attention scores: 0 where a row may look, {@link HIDDEN} where not. Columns
 * are the queries first, then the text. Queries are always there, so no row is ever hidden from everything.
 */
import type { Tensor } from '@querent/core';
import { and, cast, concat, filled, greater, greaterOrEqual, mul, pad, range, scalar, sub, unsqueeze, where } from '@querent/graph';

/** Large enough to drown any score in float32, and finite: a row with nothing to look at stays a number. */
const HIDDEN = -1e9;

/** 0 at tokens, hidden at padding: [batch, 1, 1, queries + tokens]. */
export function paddingMask(attentionMask: Tensor, queries: number): Tensor {
  const hidden = mul(sub(1, cast(attentionMask, 'float32')), HIDDEN); // [batch, tokens]
  return behindQueries(unsqueeze(hidden, [1, 2]), queries);
}

/** The rows of the text: all queries, and the text up to itself: [batch, 1, tokens, queries + tokens]. */
export function prefixCausalMask(attentionMask: Tensor, queries: number): Tensor {
  const position = range(attentionMask, attentionMask.shape[1]!);
  const earlier = greaterOrEqual(unsqueeze(position, [1]), unsqueeze(position, [0])); // [tokens, tokens]
  const there = unsqueeze(greater(attentionMask, 0), [1, 2]); // [batch, 1, 1, tokens]
  return behindQueries(where(and(earlier, there), scalar(attentionMask, 0), HIDDEN), queries);
}

/** The rows of the queries in a joint pass: queries only: [batch, 1, 1, queries + tokens]. */
export function queriesOnlyMask(attentionMask: Tensor, queries: number): Tensor {
  const [batch, tokens] = attentionMask.shape;
  return concat([filled(attentionMask, [batch!, 1, 1, queries], 0), filled(attentionMask, [batch!, 1, 1, tokens!], HIDDEN)], 3);
}

/** Puts columns of zeros for the queries in front. */
function behindQueries(mask: Tensor, queries: number): Tensor {
  return queries === 0 ? mask : pad(mask, [0, 0, 0, queries], [0, 0, 0, 0]);
}
