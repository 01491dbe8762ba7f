/**
 * An item that carries its value or its error through a run: one bad photograph among a thousand fails alone. Stages over
 * results (`map-results.ts`, `map-batches.ts`) leave a failed one as it is. Read next: `map-bounded.ts`.
 */

/** `item` is what came from the source, whatever the stages made of it. */
export interface Success<Item, Value> {
  readonly item: Item;
  readonly value: Value;
  readonly error?: undefined;
}

export interface Failure<Item> {
  readonly item: Item;
  readonly error: Error;
  readonly value?: undefined;
}

/** `{ item, value }` or `{ item, error }`. */
export type Result<Item, Value> = Success<Item, Value> | Failure<Item>;

export function success<Item, Value>(item: Item, value: Value): Success<Item, Value> {
  return { item, value };
}

/** What was thrown becomes an Error: kept as it is when it is one. */
export function failure<Item>(item: Item, thrown: unknown): Failure<Item> {
  return { item, error: thrown instanceof Error ? thrown : new Error(String(thrown), { cause: thrown }) };
}

export function isFailure<Item, Value>(result: Result<Item, Value>): result is Failure<Item> {
  return result.error !== undefined;
}

/** The value of a result. @throws the error of a failed one. */
export function valueOf<Item, Value>(result: Result<Item, Value>): Value {
  if (isFailure(result)) throw result.error;
  return result.value;
}
