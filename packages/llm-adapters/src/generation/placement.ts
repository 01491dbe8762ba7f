/**
 * Where running rows keep their memory. Beams change parents at every step; what the search calls row 0 need not lie in row 0 of the
 * caches. A parent's first child stays where its parent is, and only the others move: into the rows that nobody goes on from.
 */

/** Copies one row's memory over another's. Within one step nothing is both read and overwritten. */
export interface Move {
  readonly from: number;
  readonly to: number;
}

export interface Placement {
  /** The row of the caches that each running row has now. */
  readonly places: readonly number[];
  readonly moves: readonly Move[];
}

/**
 * @param parents the running row that each row goes on from, of the same row of the batch
 * @param places where each running row is
 * @param width running rows per row of the batch
 */
export function place(parents: readonly number[], places: readonly number[], width: number): Placement {
  const isTaken = new Uint8Array(places.length);
  const next = parents.map((parent) => {
    const at = places[parent]!;
    if (isTaken[at] === 1) return -1;
    isTaken[at] = 1;
    return at;
  });
  const moves: Move[] = [];
  for (let group = 0; group < places.length; group += width) {
    let free = group;
    for (let row = group; row < group + width; row++) {
      if (next[row] !== -1) continue;
      while (isTaken[free] === 1) free++;
      isTaken[free] = 1;
      next[row] = free;
      moves.push({ from: places[parents[row]!]!, to: free });
    }
  }
  return { places: next, moves };
}
