/**
 * A task over a model as one function: `pipeline('caption')` gives something that captions. One input gives a promise, a list gives a
 * flow: batched, ordered, lazy, an error per item. Calls that come at the same time are joined into batches (core's `join-calls.ts`), and
 * pipelines of the same model share it (`pipeline-models.ts`). Built on `create-querent.ts`, which has everything that is more.
 */
import { setMaxListeners } from 'node:events';
import { from, isFailure, joinCalls, linkSignals, mapBounded, QuerentError, raceSignal, retry, validate, withRetries } from '@querent/core';
import type { Flow, FlowSource, LoadedModel, Metrics, Result, RetryOptions, Stage, TaskDelta, TaskPlugin } from '@querent/core';
import type {
  AttendInput,
  AttendOutput,
  CaptionInput,
  CaptionOutput,
  ChatInput,
  ChatOutput,
  CurateInput,
  CurateOutput,
  EmbedInput,
  EmbedOutput,
  InstructInput,
  InstructOutput,
  MatchInput,
  MatchOutput,
  RetrieveInput,
  RetrieveOutput,
  VqaInput,
  VqaOutput,
} from '@querent/tasks';
import type { Observable } from 'rxjs';
import { createQuerent } from './create-querent.ts';
import type { LoadOptions, QuerentOptions } from './create-querent.ts';
import { defaultModel } from './default-model.ts';
import type { RecipeObject } from './model-source.ts';
import { assertCapable, isShared, shareModel, sharingKey } from './pipeline-models.ts';
import type { SharedModel } from './pipeline-models.ts';
import { itemOutput } from './stages.ts';
import type { ItemOutput } from './stages.ts';
import { runOnce, stageOf } from './task-stage.ts';

/** Inputs and outputs of the built-in tasks. */
export interface TaskTypes {
  readonly caption: { readonly input: CaptionInput; readonly output: CaptionOutput };
  readonly vqa: { readonly input: VqaInput; readonly output: VqaOutput };
  readonly instruct: { readonly input: InstructInput; readonly output: InstructOutput };
  readonly chat: { readonly input: ChatInput; readonly output: ChatOutput };
  readonly attend: { readonly input: AttendInput; readonly output: AttendOutput };
  readonly match: { readonly input: MatchInput; readonly output: MatchOutput };
  readonly embed: { readonly input: EmbedInput; readonly output: EmbedOutput };
  readonly curate: { readonly input: CurateInput; readonly output: CurateOutput };
  readonly retrieve: { readonly input: RetrieveInput; readonly output: RetrieveOutput };
}

export interface PipelineOptions extends LoadOptions, Pick<QuerentOptions, 'plugins' | 'inPlace' | 'threads'> {
  /** A folder, a recipe, or a loaded model, which stays the caller's. Default: the embedded model that can do the task. */
  readonly model?: string | RecipeObject | LoadedModel;
}

export interface RunTaskOptions {
  readonly signal?: AbortSignal;
  /** Try again what failed in a way that may pass: an item of a list, or the one call. A stream is written once. */
  readonly retry?: RetryOptions;
  /** Measures a list's run, under the task's name. */
  readonly metrics?: Metrics;
}

/** Calls in one batch. */
const JOINED = 32;
/** Batches of joined calls under way at a time: one is decoded while the other is written. */
const JOINED_BATCHES = 2;

/** What is read along: text as it comes, then the output, whose `delta` is empty: all deltas together are the text. */
export type TaskStreamEvent<Output extends object> = ({ readonly delta: string } & { readonly [K in keyof Output]?: undefined }) | ({ readonly delta: '' } & Output);

/** A task over a model. */
export interface TaskPipeline<Input, Output extends object> extends AsyncDisposable {
  /**
   * Many: an array, a generator or another iterable, an Observable. Nothing is read before the flow is. An item that fails is
   * `{ item, error }` and the others go on.
   */
  (inputs: readonly Input[] | AsyncGenerator<Input> | Observable<Input>, options?: RunTaskOptions): Flow<ItemOutput<Input, Output>>;
  /**
   * One. Throws what went wrong. A Node or web stream of bytes is one image; bytes in pieces are given as `{ image: pieces }`. Calls that
   * come while others are under way go in batches; one that draws (`doSample`, `seed`) goes alone, so that its seed means the same each time.
   */
  (input: Input, options?: RunTaskOptions): Promise<Output>;
  (inputs: Iterable<Input>, options?: RunTaskOptions): Flow<ItemOutput<Input, Output>>;
  /** One, read along: pieces of text as they come, then the output. */
  stream(input: Input, options?: RunTaskOptions): AsyncGenerator<TaskStreamEvent<Output>, void, undefined>;
  readonly model: LoadedModel;
  readonly task: TaskPlugin<Input, Output>;
  /** Frees what this pipeline has loaded. Twice is harmless. */
  dispose(): Promise<void>;
}

/**
 * Loads a model for a task.
 *
 * @throws QuerentError QRT_PLUGIN_UNKNOWN for a task that is not registered, QRT_MODEL_UNSUPPORTED for a model that cannot do it, and
 *   what loading throws.
 *
 * @example
 * await using caption = await pipeline('caption');
 * console.log((await caption('photo.jpg')).text);
 * for await (const { item, text, error } of caption(['a.jpg', 'b.jpg'])) console.log(item, text ?? error);
 * for await (const { delta } of caption.stream('photo.jpg')) process.stdout.write(delta);
 */
export function pipeline<Name extends keyof TaskTypes>(
  task: Name,
  options?: PipelineOptions,
): Promise<TaskPipeline<TaskTypes[Name]['input'], TaskTypes[Name]['output']>>;
export function pipeline<Input = unknown, Output extends object = Readonly<Record<string, unknown>>>(
  task: string,
  options?: PipelineOptions,
): Promise<TaskPipeline<Input, Output>>;
export async function pipeline(name: string, options: PipelineOptions = {}): Promise<TaskPipeline<unknown, object>> {
  const { model: wanted, plugins, inPlace, threads, ...loading } = options;
  const made = {
    ...(plugins === undefined ? {} : { plugins: [...plugins] }),
    ...(inPlace === undefined ? {} : { inPlace }),
    ...(threads === undefined ? {} : { threads }),
  };
  const querent = await createQuerent(made);
  let shared: SharedModel | undefined;
  let isGiven = false; // to the model that it loads
  const free = async (): Promise<void> => {
    await shared?.release();
    if (!isGiven) await querent.dispose();
  };
  try {
    const task = querent.registry.get('task', name) as TaskPlugin<unknown, object>; // a task's outputs are objects by its schema
    if (!isLoaded(wanted)) {
      const folder = wanted ?? defaultModel(task.requires);
      const key = sharingKey(folder, loading, made);
      options.signal?.throwIfAborted();
      isGiven = !isShared(key);
      shared = await shareModel(key, folder, loading, querent);
    }
    const model = isLoaded(wanted) ? wanted : shared!.model; // set above for every other form
    assertCapable(task, model);
    return overModel(task, model, free, options.signal);
  } catch (error) {
    await free();
    throw error;
  }
}

function overModel(task: TaskPlugin<unknown, object>, model: LoadedModel, free: () => Promise<void>, outer: AbortSignal | undefined): TaskPipeline<unknown, object> {
  const closed = new AbortController();
  setMaxListeners(0, closed.signal); // each call under way listens
  let closing: Promise<void> | undefined;
  const signalsOf = (options: RunTaskOptions): AbortSignal[] => [closed.signal, outer, options.signal].filter((signal) => signal !== undefined);

  async function* streamed(input: unknown, options: RunTaskOptions): AsyncGenerator<TaskDelta | object, void, undefined> {
    const { controller, unlink } = linkSignals(signalsOf(options));
    const { signal } = controller;
    try {
      signal.throwIfAborted();
      const events = task.run(validate(task.input, input, { what: `the input of ${task.name}` }), { model, signal, stream: true })[Symbol.asyncIterator]();
      try {
        for (;;) {
          const step = await raceSignal(events.next(), signal);
          if (step.done === true) break;
          yield step.value;
        }
      } finally {
        void events.return?.()?.catch(() => undefined); // it may be waiting for a step that is under way
      }
    } finally {
      controller.abort(new DOMException('Nobody waits for this task any longer.', 'AbortError'));
      unlink();
    }
  }

  const joined = joinCalls<unknown, object>(
    async (calls, { signal }) => {
      const inputs = calls.map(({ input }) => input);
      if (calls.length === 1) return calls[0]!.resolve(await runOnce(task, model, inputs[0], signal));
      const stage: Stage<unknown, Result<unknown, object>> = stageOf(task, model, signal);
      let at = 0;
      for await (const result of stage(from(inputs, { signal }).withSignal(closed.signal))) {
        const call = calls[at++];
        if (isFailure(result)) call?.reject(result.error);
        else call?.resolve(result.value);
      }
    },
    { size: JOINED, concurrency: JOINED_BATCHES },
  );
  const one = async (input: unknown, options: RunTaskOptions): Promise<object> => {
    const { controller, unlink } = linkSignals(signalsOf(options));
    const { signal } = controller;
    const attempt = (): Promise<object> => (task.stage === undefined || draws(input) ? runOnce(task, model, input, signal) : joined.call(input, { signal }));
    try {
      signal.throwIfAborted();
      return await (options.retry === undefined ? attempt() : withRetries(attempt, options.retry, signal));
    } finally {
      controller.abort(new DOMException('Nobody waits for this task any longer.', 'AbortError'));
      unlink();
    }
  };
  const many = (inputs: FlowSource<unknown>, options: RunTaskOptions): Flow<ItemOutput<unknown, object>> => {
    let source = from(inputs);
    for (const signal of signalsOf(options)) source = source.withSignal(signal);
    let stage = stageOf(task, model, closed.signal);
    if (options.retry !== undefined) stage = retry(stage, options.retry);
    if (options.metrics !== undefined) stage = options.metrics.measure(task.name, stage);
    return stage(source).pipe(mapBounded(itemOutput<unknown, object>));
  };

  const dispose = (): Promise<void> => {
    closing ??= (async () => {
      closed.abort(new QuerentError('QRT_USAGE', `The pipeline ${task.name} has been disposed.`, { fix: 'Dispose it after the last call, or make another one.' }));
      await free();
    })();
    return closing;
  };
  const call = (input: unknown, options: RunTaskOptions = {}): unknown => (isMany(input) ? many(input, options) : one(input, options));
  const made = Object.assign(call, {
    async *stream(input: unknown, options: RunTaskOptions = {}) {
      for await (const event of streamed(input, options)) yield 'delta' in event ? event : { delta: '', ...event };
    },
    model,
    task,
    dispose,
    [Symbol.asyncDispose]: dispose,
  });
  return made as TaskPipeline<unknown, object>; // `call` gives a flow for many inputs and a promise for one, as isMany tells them apart
}

/** A list of inputs, not one: iterables but text and bytes; async iterables but streams; Observables. */
function isMany(input: unknown): input is FlowSource<unknown> {
  if (typeof input !== 'object' || input === null) return false;
  if ('subscribe' in input) return true;
  if (ArrayBuffer.isView(input)) return false;
  if (Symbol.iterator in input) return true;
  const isStream = 'getReader' in input || 'pipe' in input; // web and Node streams hold the bytes of one image
  return Symbol.asyncIterator in input && !isStream;
}

function isLoaded(model: PipelineOptions['model']): model is LoadedModel {
  return typeof model === 'object' && 'capabilities' in model && model.capabilities instanceof Set;
}

/** Does it draw, so that its place in a batch would change what is drawn? */
function draws(input: unknown): boolean {
  return typeof input === 'object' && input !== null && (('doSample' in input && input.doSample === true) || ('seed' in input && input.seed !== undefined));
}
