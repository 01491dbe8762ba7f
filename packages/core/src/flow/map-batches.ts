/**
 * Works on several values at once: what a graph with a `batch` dim wants. Failed results ride along in their place; when a
 * whole batch fails, its values are tried one by one, so that only the bad ones fail.
 *
 *     {a, 1} {b, error} {c, 3} {d, 4}     size 4:  f([1, 3, 4])
 *     {a, A} {b, error} {c, C} {d, D}
 */
import { QuerentError } from '../errors.ts';
import { batch, flatten } from './batch.ts';
import type { BatchOptions } from './batch.ts';
import { from } from './flow.ts';
import type { Stage } from './flow.ts';
import { mapBounded } from './map-bounded.ts';
import type { MapBoundedOptions, MapContext } from './map-bounded.ts';
import { failure, isFailure, success } from './result.ts';
import type { Result, Success } from './result.ts';

export interface MapBatchesOptions extends MapBoundedOptions, BatchOptions {
  /** Results in one batch, at least 1; failed ones count, so that memory stays bounded when everything fails. */
  readonly size: number;
  /** Try the values of a failed batch one by one. Default true; false fails them all with the same error. */
  readonly isolate?: boolean;
}

/**
 * Maps batches of results; `concurrency` counts batches. `map` gives one output a value, in order.
 *
 * @throws QuerentError QRT_USAGE, ending the flow, when `map` gives another number of outputs than it was given values.
 */
export function mapBatches<Item, In, Out>(
  map: (values: readonly In[], context: MapContext) => readonly Out[] | PromiseLike<readonly Out[]>,
  options: MapBatchesOptions,
): Stage<Result<Item, In>, Result<Item, Out>> {
  const { size, maxWaitMs, isolate = true, ...bounded } = options;
  type Attempt = { readonly outputs: readonly Out[] } | { readonly thrown: unknown };
  const attempt = async (values: readonly In[], context: MapContext): Promise<Attempt> => {
    let outputs: readonly Out[];
    try {
      outputs = await map(values, context);
    } catch (thrown) {
      context.signal.throwIfAborted();
      return { thrown };
    }
    if (outputs.length === values.length) return { outputs };
    throw new QuerentError('QRT_USAGE', `A batched function was given ${values.length} values and gave ${outputs.length} outputs.`, {
      fix: 'Return one output for each value, in the same order.',
      details: { values: values.length, outputs: outputs.length },
    });
  };
  /** The result of the value at `index` of an attempt. */
  const told = (tried: Attempt, index: number, item: Item): Result<Item, Out> =>
    'thrown' in tried ? failure(item, tried.thrown) : success(item, tried.outputs[index] as Out); // one output a value
  const together = async (results: readonly Result<Item, In>[], context: MapContext): Promise<Result<Item, Out>[]> => {
    const good = results.filter((result) => !isFailure(result)) as Success<Item, In>[]; // what the filter has tested
    const tried = good.length === 0 ? { outputs: [] } : await attempt(good.map((result) => result.value), context);
    const alone = 'thrown' in tried && isolate && good.length > 1;
    const done: Result<Item, Out>[] = [];
    let index = 0;
    for (const result of results) {
      if (isFailure(result)) done.push(result);
      else if (alone) done.push(told(await attempt([result.value], context), 0, result.item));
      else done.push(told(tried, index++, result.item));
    }
    return done;
  };
  const wait = maxWaitMs === undefined ? {} : { maxWaitMs };
  return (source) => from(source).pipe(batch(size, wait), mapBounded(together, bounded), flatten());
}
