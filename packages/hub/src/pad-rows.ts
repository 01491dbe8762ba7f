/** Rows of token ids as one rectangle: the one way in which texts of unequal length become a batch. */

export interface PaddedRows {
  /** int64 [rows, width], row by row. */
  readonly ids: BigInt64Array;
  /** 1 where a row has a token, 0 where it was filled. */
  readonly mask: BigInt64Array;
  readonly width: number;
}

/**
 * Fills rows up on one side.
 *
 * @param filler stands where the mask is 0
 * @param width at least the longest row's length, which is the default
 */
export function padRows(
  rows: readonly ArrayLike<number>[],
  filler: number,
  side: 'left' | 'right',
  width: number = rows.reduce((most, row) => Math.max(most, row.length), 0),
): PaddedRows {
  const ids = new BigInt64Array(rows.length * width).fill(BigInt(filler));
  const mask = new BigInt64Array(rows.length * width);
  rows.forEach((row, r) => {
    const start = r * width + (side === 'left' ? width - row.length : 0);
    for (let i = 0; i < row.length; i++) {
      ids[start + i] = BigInt(row[i]!);
      mask[start + i] = 1n;
    }
  });
  return { ids, mask, width };
}
