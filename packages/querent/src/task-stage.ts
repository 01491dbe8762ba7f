/**
 * Any task as a stage, so that tasks can follow each other:
 *
 *     from(photos).pipe(task(writer, 'caption'), task(reader, 'match', { threshold: 0.6 }))
 *
 * What a task reads is looked up by name: first in its options, then in what earlier stages gave, then in the item. Here `match` has
 * the `image` of the item and the `text` of the caption. An item that has failed passes untouched.
 */
import { QuerentError, from, isFailure, mapBounded, raceSignal, retry, throughStage, validate } from '@querent/core';
import type { Entry, LoadedModel, Metrics, Result, RetryOptions, Stage, TaskPlugin } from '@querent/core';
import { taskPlugins } from '@querent/tasks';
import type { TaskTypes } from './pipeline.ts';
import { assertCapable } from './pipeline-models.ts';
import type { ItemOutput } from './stages.ts';

/** What a stage carries from the item that the flow began with: itself, or what an earlier stage kept beside its output. */
export type OriginOf<In> = In extends { readonly item: infer Item } ? Item : In;

/** What earlier stages gave. */
export type OutputsOf<In> = [In extends { readonly item: unknown; readonly error?: undefined } ? In : never] extends [never]
  ? object
  : Omit<In extends { readonly item: unknown; readonly error?: undefined } ? In : never, 'item' | 'error' | 'value'>;

/** Where a task's inputs come from and its outputs go. */
export interface TaskStageOptions<As extends string | undefined = undefined> {
  /** Keep the output under this key instead of beside the others': two tasks may both give `text`. */
  readonly as?: As;
  /** Inputs that have another name: `{ text: 'answer.text' }` reads the `text` of the stage that was called `answer`. */
  readonly inputs?: Readonly<Record<string, string>>;
  /** Try items again whose failure may pass. */
  readonly retry?: RetryOptions;
  /** Measures the stage, under `as` or the task's name. */
  readonly metrics?: Metrics;
}

type Named<Output, As extends string | undefined> = As extends string ? { readonly [K in As]: Output } : Output;

/**
 * @param name a built-in task, or a task plugin
 * @param options inputs that are the same for every item
 * @throws QuerentError QRT_CONFIG_INVALID for an option that the task does not have, QRT_PLUGIN_UNKNOWN, QRT_MODEL_UNSUPPORTED.
 */
export function task<In, Name extends keyof TaskTypes, const As extends string | undefined = undefined>(
  model: LoadedModel,
  name: Name,
  options?: Partial<Exclude<TaskTypes[Name]['input'], string | URL | ArrayBuffer | Uint8Array | Blob | ReadableStream | AsyncIterable<Uint8Array>>>,
  how?: TaskStageOptions<As>,
): Stage<In, ItemOutput<OriginOf<In>, OutputsOf<In> & Named<TaskTypes[Name]['output'], As>>>;
export function task<In, Input, Output extends object, const As extends string | undefined = undefined>(
  model: LoadedModel,
  plugin: TaskPlugin<Input, Output>,
  options?: Partial<Input>,
  how?: TaskStageOptions<As>,
): Stage<In, ItemOutput<OriginOf<In>, OutputsOf<In> & Named<Output, As>>>;
export function task(model: LoadedModel, name: unknown, options: object = {}, how: TaskStageOptions<string | undefined> = {}): unknown {
  const plugin = typeof name === 'string' ? builtIn(name) : (name as TaskPlugin<unknown, object>); // as the signatures say; its inputs are checked by its own schema
  assertCapable(plugin, model);
  assertOptions(plugin, options);
  const { as, inputs, retry: again, metrics } = how;
  const names = inputNames(plugin);
  const enter = (given: unknown): Entry<unknown, Carried> => {
    const { item, outputs, fields, error } = carriedOf(given);
    if (error !== undefined) return { pass: { item, error } };
    const all = { ...fields, ...outputs };
    const renamed = Object.entries(inputs ?? {}).map(([key, path]) => [key, at(all, path)] as const);
    const known = [...names].flatMap((key) => (all[key] === undefined ? [] : [[key, all[key]] as const]));
    return { input: { ...Object.fromEntries(known), ...Object.fromEntries(renamed), ...options } };
  };
  const leave = (given: unknown, result: Result<unknown, object>): Carried => {
    const { item, outputs } = carriedOf(given);
    if (isFailure(result)) return { item, error: result.error };
    return { item, ...outputs, ...(as === undefined ? result.value : { [as]: result.value }) };
  };
  let stage: Stage<unknown, Carried> = (source) =>
    from(source).through((upstream, signal) => {
      const through = throughStage<unknown, unknown, Result<unknown, object>, Carried>(stageOf(plugin, model, signal), { enter, leave });
      const run = through(from({ [Symbol.asyncIterator]: () => ({ next: () => upstream.next(), return: async () => (await upstream.return(), { done: true, value: undefined }) }) }))[Symbol.asyncIterator]();
      return { next: () => run.next(), return: async () => void (await run.return?.()) };
    });
  if (again !== undefined) stage = retry(stage, again);
  return metrics === undefined ? stage : metrics.measure(as ?? plugin.name, stage);
}

/** An item on its way: what it was, and what has been made of it. */
interface Carried {
  readonly item: unknown;
  readonly error?: Error;
  readonly [key: string]: unknown;
}

/** A task over many inputs: its own stage, or its `run` for each. */
export function stageOf(plugin: TaskPlugin<unknown, object>, model: LoadedModel, signal: AbortSignal): Stage<unknown, Result<unknown, object>> {
  return plugin.stage?.({ model, signal }) ?? mapBounded((input: unknown, context) => runOnce(plugin, model, input, context.signal), { onError: 'item' });
}

/** One input, its output. @throws what goes wrong; the signal's reason at once when it aborts. */
export async function runOnce(plugin: TaskPlugin<unknown, object>, model: LoadedModel, input: unknown, signal: AbortSignal): Promise<object> {
  const events = plugin.run(validate(plugin.input, input, { what: `the input of ${plugin.name}` }), { model, signal, stream: false })[Symbol.asyncIterator]();
  let output: object | undefined;
  try {
    for (;;) {
      const step = await raceSignal(events.next(), signal);
      if (step.done === true) break;
      output = step.value;
    }
  } finally {
    void events.return?.()?.catch(() => undefined); // it may be waiting for a step that is under way
  }
  if (output === undefined) throw new QuerentError('QRT_PLUGIN_INVALID', `The task ${plugin.name} gave no output.`, { fix: 'Its `run` must yield the output last.' });
  return output;
}

function builtIn(name: string): TaskPlugin<unknown, object> {
  const found = taskPlugins.find((plugin) => plugin.name === name);
  if (found === undefined) {
    throw new QuerentError('QRT_PLUGIN_UNKNOWN', `There is no built-in task ${JSON.stringify(name)}; there are ${taskPlugins.map((plugin) => plugin.name).join(', ')}.`, {
      fix: "A plugin's task is given as the value itself.",
    });
  }
  return found as TaskPlugin<unknown, object>; // a task's outputs are objects by its schema
}

/** The names in a task's input schema. */
export function inputNames(plugin: Pick<TaskPlugin, 'input'>): ReadonlySet<string> {
  const { properties } = plugin.input;
  return new Set(typeof properties === 'object' && properties !== null ? Object.keys(properties) : []);
}

/** Finds a typing error now, not at every item. */
function assertOptions(plugin: TaskPlugin<unknown, object>, options: object): void {
  const { properties } = plugin.input;
  if (typeof properties !== 'object') return; // it says nothing of its inputs
  validate({ type: 'object', properties, additionalProperties: false }, options, { what: `the options of the stage ${plugin.name}` });
}

/** Takes apart what a stage before gave, or an item at the beginning of a flow. */
function carriedOf(given: unknown): { readonly item: unknown; readonly outputs: Fields; readonly fields: Fields; readonly error?: Error } {
  if (!isPlain(given) || !('item' in given)) return { item: given, outputs: {}, fields: fieldsOf(given) };
  const { item, error, value, ...outputs } = given;
  if (error instanceof Error) return { item, outputs, fields: {}, error };
  const pixels: Fields = value === undefined ? {} : { image: value }; // a result of decode
  return { item, outputs, fields: { ...fieldsOf(item), ...pixels } };
}

type Fields = Readonly<Record<string, unknown>>;

/** An object's own fields, or an image by itself. */
function fieldsOf(item: unknown): Fields {
  return isPlain(item) && !('data' in item && 'width' in item) ? item : { image: item };
}

function isPlain(value: unknown): value is Fields {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** `answer.text` of a record; undefined where there is none. */
function at(record: Fields, path: string): unknown {
  return path.split('.').reduce<unknown>((value, key) => (typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined), record);
}
