/**
 * How much memory a model's weights take when it is loaded, by precision, from its graphs alone: which weights are products' and which
 * are tables, and how `precision.ts` holds each. What trains stays float32.
 */
import type { CacheSpec, Graph, GraphParameter } from '@querent/core';
import { blockSizeFor } from './precision.ts';

export interface MemoryUse {
  /** Bytes of weights. Those of fp32 are mapped from the file where it has float32, and need not be resident at once. */
  readonly weights: Readonly<Record<'fp32' | 'fp16' | 'int8' | 'int4', number>>;
  /** Bytes of keys and values for each token of each hypothesis; 0 where nothing is written. */
  readonly cacheBytesPerToken: number;
}

/** Bytes for one number in blocks: the integer, a share of the scale (float32) and of the zero point (4 bits, of 4-bit blocks). */
function blockBytes(bits: 4 | 8, columns: number): number {
  const share = bits === 8 ? 4 : 4.5;
  return bits / 8 + share / blockSizeFor(bits, columns);
}

/**
 * @param isFrozen by the checkpoint's name
 * @param cacheBytesPerToken see {@link cacheBytes}
 */
export function memoryOf(graphs: readonly Graph[], declared: ReadonlyMap<string, GraphParameter>, isFrozen: (name: string) => boolean, cacheBytesPerToken: number): MemoryUse {
  const tables = new Set<string>();
  for (const graph of graphs) {
    for (const { opType, inputs } of graph.nodes) {
      const [table] = inputs;
      if (opType === 'Gather' && table !== null && table !== undefined) tables.add(table.name);
    }
  }
  const weights = { fp32: 0, fp16: 0, int8: 0, int4: 0 };
  for (const [name, { shape, tensor }] of declared) {
    const size = shape.reduce((product, dim) => product * dim, 1);
    const isHeld = isFrozen(name) && shape.length === 2 && name.endsWith('weight');
    const isTable = tables.has(tensor.name);
    const columns = shape[1] ?? 1;
    const int8 = blockBytes(8, columns);
    weights.fp32 += 4 * size;
    weights.fp16 += (isHeld ? 2 : 4) * size;
    weights.int8 += (isHeld ? (isTable ? 2 : int8) : 4) * size;
    weights.int4 += (isHeld ? (isTable ? 2 : name.startsWith('vision_model.') ? int8 : blockBytes(4, columns)) : 4) * size;
  }
  return { weights: { fp32: weights.fp32, fp16: weights.fp16, int8: Math.ceil(weights.int8), int4: Math.ceil(weights.int4) }, cacheBytesPerToken };
}

/** Bytes of keys and values that one token of one hypothesis adds, as float32. */
export function cacheBytes(caches: readonly CacheSpec[]): number {
  return caches.filter(({ kind }) => kind === 'self').reduce((sum, { heads, headWidth }) => sum + 4 * heads * headWidth, 0);
}
