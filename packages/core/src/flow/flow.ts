/**
 * A Flow is an rxjs Observable that is also an async iterable, and cold: nothing is read before somebody subscribes or
 * iterates, and two readers are two runs. Between its stages items are pulled: a slot frees, then the next one is taken
 * from the source, so memory stays flat however long the source is.
 *
 *     from(photos).pipe(decode, encode, generate)
 *        ^ next()      ^ next()  ^ next()   ^ subscribe or for await
 *
 * Leaving early (unsubscribe, `break`, the signal) stops the source and aborts what is in flight. Read next: `map-bounded.ts`.
 */
import { Observable } from 'rxjs';
import type { OperatorFunction } from 'rxjs';
import { QuerentError } from '../errors.ts';
import { linkSignals } from './cancel.ts';
import { DONE, FLOW_BUFFER, pullIterable, pullObservable } from './pull.ts';
import type { Pull } from './pull.ts';

/** What a Flow can be made of. */
export type FlowSource<T> = Iterable<T> | AsyncIterable<T> | Observable<T>;

export interface FlowOptions {
  /** Ends every run with the signal's own reason. */
  readonly signal?: AbortSignal;
  /** How many items an Observable may push ahead before the flow fails with QRT_FLOW_OVERFLOW. Default {@link FLOW_BUFFER}. */
  readonly buffer?: number;
}

/** One run's beginning; `signal` aborts when the run ends early. */
export type OpenPull<T> = (signal: AbortSignal) => Pull<T>;

/**
 * A step of a flow. It is an ordinary rxjs operator; on a Flow it pulls, on any other Observable it keeps up to
 * {@link FLOW_BUFFER} items and then fails with QRT_FLOW_OVERFLOW.
 */
export interface Stage<In, Out> extends OperatorFunction<In, Out> {
  (source: Observable<In>): Flow<Out>;
}

/** Longest time, in milliseconds, that a subscription whose items are all there keeps the event loop from other work. */
const BREATHE_AFTER_MS = 8;

export class Flow<T> extends Observable<T> implements AsyncIterable<T> {
  readonly #open: OpenPull<T>;
  readonly #signals: readonly AbortSignal[];

  /** Use {@link from}. */
  constructor(open: OpenPull<T>, signals: readonly AbortSignal[] = []) {
    super((subscriber) => {
      const run = startRun(open, signals);
      subscriber.add(() => void run.return().catch(() => undefined));
      void (async () => {
        try {
          let last = performance.now();
          for (;;) {
            const step = await run.next();
            if (subscriber.closed) return;
            if (step.done === true) return subscriber.complete();
            subscriber.next(step.value);
            if (performance.now() - last > BREATHE_AFTER_MS) {
              await new Promise((resolve) => setImmediate(resolve));
              last = performance.now();
            }
          }
        } catch (error) {
          subscriber.error(error);
        }
      })();
    });
    this.#open = open;
    this.#signals = signals;
  }

  /** A run of its own: `break` stops it. The next item is worked on ahead, as far as the stages have slots. */
  [Symbol.asyncIterator](): AsyncIterableIterator<T, undefined> {
    const run = startRun(this.#open, this.#signals);
    let turn: Promise<unknown> = Promise.resolve();
    const iterator: AsyncIterableIterator<T, undefined> = {
      next: () => {
        const step = turn.then(() => run.next());
        turn = step.catch(() => undefined);
        return step;
      },
      return: async () => {
        await run.return();
        return DONE;
      },
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  /** The same flow with one more stage; for those who write stages. */
  through<Out>(stage: (upstream: Pull<T>, signal: AbortSignal) => Pull<Out>): Flow<Out> {
    const open = this.#open;
    return new Flow<Out>((signal) => stage(open(signal), signal), this.#signals);
  }

  /** The same flow, ended with the signal's own reason when it aborts. */
  withSignal(signal: AbortSignal): Flow<T> {
    return new Flow<T>(this.#open, [...this.#signals, signal]);
  }

  // rxjs's own pipe does the work; these signatures say that stages give a Flow again. Any other operator gives an Observable.
  override pipe(): Flow<T>;
  override pipe<A>(a: Stage<T, A>): Flow<A>;
  override pipe<A, B>(a: Stage<T, A>, b: Stage<A, B>): Flow<B>;
  override pipe<A, B, C>(a: Stage<T, A>, b: Stage<A, B>, c: Stage<B, C>): Flow<C>;
  override pipe<A, B, C, D>(a: Stage<T, A>, b: Stage<A, B>, c: Stage<B, C>, d: Stage<C, D>): Flow<D>;
  override pipe<A, B, C, D, E>(a: Stage<T, A>, b: Stage<A, B>, c: Stage<B, C>, d: Stage<C, D>, e: Stage<D, E>): Flow<E>;
  override pipe<A, B, C, D, E, F>(
    a: Stage<T, A>, b: Stage<A, B>, c: Stage<B, C>, d: Stage<C, D>, e: Stage<D, E>, f: Stage<E, F>,
  ): Flow<F>;
  override pipe<A>(a: OperatorFunction<T, A>): Observable<A>;
  override pipe<A, B>(a: OperatorFunction<T, A>, b: OperatorFunction<A, B>): Observable<B>;
  override pipe<A, B, C>(a: OperatorFunction<T, A>, b: OperatorFunction<A, B>, c: OperatorFunction<B, C>): Observable<C>;
  override pipe<A, B, C, D>(
    a: OperatorFunction<T, A>, b: OperatorFunction<A, B>, c: OperatorFunction<B, C>, d: OperatorFunction<C, D>,
  ): Observable<D>;
  override pipe<A, B, C, D, E>(
    a: OperatorFunction<T, A>, b: OperatorFunction<A, B>, c: OperatorFunction<B, C>, d: OperatorFunction<C, D>, e: OperatorFunction<D, E>,
  ): Observable<E>;
  override pipe<A, B, C, D, E, F>(
    a: OperatorFunction<T, A>, b: OperatorFunction<A, B>, c: OperatorFunction<B, C>, d: OperatorFunction<C, D>, e: OperatorFunction<D, E>,
    f: OperatorFunction<E, F>,
  ): Observable<F>;
  override pipe(...operators: OperatorFunction<T, T>[]): Observable<unknown>;
  override pipe(...operators: OperatorFunction<T, T>[]): Observable<unknown> {
    let result: Observable<T> = this; // what it is between two operators is what their types, checked above, say
    for (const operator of operators) result = operator(result);
    return result;
  }
}

/** One run: `next` gives way to the signal, and whatever ends the run closes everything, once. */
function startRun<T>(open: OpenPull<T>, signals: readonly AbortSignal[]): Pull<T> {
  const { controller, unlink } = linkSignals(signals);
  const { signal } = controller;
  let pull: Pull<T> | undefined;
  let ended = false;
  let giveUp: ((reason: unknown) => void) | undefined; // one listener a run: one an item would cost more than the item
  signal.addEventListener('abort', () => giveUp?.(signal.reason), { once: true });
  const end = async (reason?: unknown): Promise<void> => {
    if (ended) return;
    ended = true;
    unlink();
    if (reason !== undefined) controller.abort(reason);
    await pull?.return();
  };
  const step = (): Promise<IteratorResult<T, undefined>> =>
    new Promise((resolve, reject) => {
      giveUp = reject;
      pull ??= open(signal);
      pull.next().then(resolve, reject);
    });
  return {
    async next() {
      if (ended) return DONE;
      try {
        signal.throwIfAborted();
        const taken = await step();
        if (taken.done === true) await end();
        return taken;
      } catch (error) {
        if (ended) return DONE; // left while this item was on its way
        await end(error).catch(() => undefined); // the first error is the one to tell
        throw error;
      }
    },
    return: () => end(new DOMException('The flow was left before its end.', 'AbortError')),
  };
}

/**
 * Begins a flow. Nothing is read yet.
 *
 * @param source Any iterable, async iterable (a Node or web stream, a generator) or Observable. Iterables are read one item
 *   at a time, when there is room; a generator gives one run only, as it always does.
 * @throws QuerentError QRT_USAGE for a string or something that is not iterable.
 */
export function from<T>(source: FlowSource<T>, options: FlowOptions = {}): Flow<T> {
  const signals = options.signal === undefined ? [] : [options.signal];
  if (source instanceof Flow) return options.signal === undefined ? source : source.withSignal(options.signal);
  if (typeof source === 'object' && source !== null) {
    if ('subscribe' in source) return new Flow<T>(() => pullObservable(source, options.buffer ?? FLOW_BUFFER), signals);
    if (Symbol.asyncIterator in source || Symbol.iterator in source) return new Flow<T>(() => pullIterable(source), signals);
  }
  throw new QuerentError('QRT_USAGE', `A flow was given ${typeof source === 'string' ? `the string ${JSON.stringify(source)}` : String(source)}, not a list of items.`, {
    fix: 'Give an array, an iterable, an async iterable or an Observable; one item goes into an array: from([item]).',
  });
}

/** Makes a stage from what it does to the pulling side; for those who write stages. */
export function stage<In, Out>(through: (upstream: Pull<In>, signal: AbortSignal) => Pull<Out>): Stage<In, Out> {
  return (source) => from(source).through(through);
}

/** `from(source).pipe(...stages)` in one call. */
export function flow<T>(source: FlowSource<T>): Flow<T>;
export function flow<T, A>(source: FlowSource<T>, a: Stage<T, A>): Flow<A>;
export function flow<T, A, B>(source: FlowSource<T>, a: Stage<T, A>, b: Stage<A, B>): Flow<B>;
export function flow<T, A, B, C>(source: FlowSource<T>, a: Stage<T, A>, b: Stage<A, B>, c: Stage<B, C>): Flow<C>;
export function flow<T, A, B, C, D>(source: FlowSource<T>, a: Stage<T, A>, b: Stage<A, B>, c: Stage<B, C>, d: Stage<C, D>): Flow<D>;
export function flow<T, A, B, C, D, E>(
  source: FlowSource<T>, a: Stage<T, A>, b: Stage<A, B>, c: Stage<B, C>, d: Stage<C, D>, e: Stage<D, E>,
): Flow<E>;
export function flow(source: FlowSource<unknown>, ...stages: Stage<unknown, unknown>[]): Flow<unknown> {
  let result = from(source);
  for (const next of stages) result = next(result);
  return result;
}

/** A stage that ends the run with the signal's own reason when it aborts. */
export function abortOn<T>(signal: AbortSignal): Stage<T, T> {
  return (source) => from(source).withSignal(signal);
}
