/**
 * `mapBounded` over results: works on the value of each good one and keeps its `item`; a failed one goes through untouched.
 *
 *     {a, 1} {b, error} {c, 3}   →   {a, f(1)} {b, error} {c, f(3)}
 */
import type { Stage } from './flow.ts';
import { mapStage } from './map-bounded.ts';
import type { MapBoundedOptions, MapContext } from './map-bounded.ts';
import { failure, isFailure, success } from './result.ts';
import type { Result } from './result.ts';

/** One item that fails becomes `{ item, error }`; the others go on. A cancelled run always ends. */
export function mapResults<Item, In, Out>(
  map: (value: In, context: MapContext & { readonly item: Item }) => Out | PromiseLike<Out>,
  options: MapBoundedOptions = {},
): Stage<Result<Item, In>, Result<Item, Out>> {
  const guarded = async (result: Result<Item, In>, { signal }: MapContext): Promise<Result<Item, Out>> => {
    if (isFailure(result)) return result;
    try {
      return success(result.item, await map(result.value, { signal, item: result.item }));
    } catch (error) {
      signal.throwIfAborted();
      return failure(result.item, error);
    }
  };
  return mapStage(guarded, options);
}

/** Items as results of themselves: the way into stages over results. */
export function asResults<Item>(): Stage<Item, Result<Item, Item>> {
  return mapStage((item: Item) => success(item, item), {});
}
