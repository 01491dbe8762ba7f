/**
 * Text from a language model: prefill, then one step per token, as a stream of events. The loop is an engine program
 * ({@link generateProgram}), so it runs beside the sessions: only ids cross threads. It knows no model: the two graphs
 * (`graphs.ts`) say by their ports what there is to remember. How a token is chosen: `sample.ts`, `beam-search.ts`, `logits.ts`.
 */
import type { Engine, Executable, ProgramContext, SpecialTokens } from '@querent/core';
import { QuerentError } from '@querent/core';
import { beamSearch } from './beam-search.ts';
import type { DecodingExecutables, PromptFeeds } from './decoder.ts';
import { Decoder, batchOf } from './decoder.ts';
import { scoreProcessor } from './logits.ts';
import type { GenerationOptions, ResolvedOptions } from './options.ts';
import { resolveOptions } from './options.ts';
import { sampling } from './sample.ts';
import { stopTest } from './stop-strings.ts';
import type { GeneratedSequence, RowProcessor, Strategy, TokenDelta } from './strategy.ts';

/** What a generation is asked for. Structured-cloneable: it crosses to the engine's thread. */
export interface GenerateArgs extends PromptFeeds {
  /** The model's special ids (`plugin.specialTokens(config)`). */
  readonly tokens: SpecialTokens;
  readonly options?: GenerationOptions;
  /**
   * The ids that repetition penalty and n-gram blocking see before the first new token, per row. Default: the prompt ids where the
   * decoder has read them (padding too, as in transformers), the start token where an encoder has.
   */
  readonly history?: readonly (readonly number[])[];
  /** By token id what it adds to a text: needed for `stopStrings` only. */
  readonly pieces?: readonly string[];
}

/** A token, as soon as it is certain. Beam search gives none: a better beam may still win. */
export interface TokenDeltaEvent extends TokenDelta {
  readonly type: 'token-delta';
}

/** The end of a generation. */
export interface GeneratedEvent {
  readonly type: 'generated';
  /** Per row of the batch `numReturnSequences` texts, best first. */
  readonly rows: readonly (readonly GeneratedSequence[])[];
}

export type GenerationEvent = TokenDeltaEvent | GeneratedEvent;

export interface GenerateHooks {
  /** Changes a running row's scores after the built-in processors. It is a function, so the loop must run in place. */
  readonly process?: RowProcessor;
}

/**
 * Decodes until every row has ended.
 *
 * @throws QuerentError QRT_USAGE when options or prompt do not fit; what the engine throws. Aborting acts between steps.
 */
export async function* generate(
  executables: DecodingExecutables,
  args: GenerateArgs,
  signal: AbortSignal = new AbortController().signal,
  hooks: GenerateHooks = {},
): AsyncGenerator<GenerationEvent, void, undefined> {
  const options = resolveOptions(args.options ?? {}, args.tokens, promptLength(executables, args));
  const strategy = chooseStrategy(executables, args, options, hooks);
  const decoder = await Decoder.open(executables, args, strategy.width, options.maxNewTokens, args.tokens, signal);
  let scores = await decoder.begin(signal);
  for (;;) {
    signal.throwIfAborted();
    const step = strategy.advance(scores);
    for (const delta of step.deltas) yield { type: 'token-delta', ...delta };
    if (step.isDone) break;
    scores = await decoder.step(step.ids, step.parents, signal);
  }
  yield { type: 'generated', rows: strategy.results() };
}

/** {@link generate} as an engine program; its executables are called `prefill` and `decode`. */
export async function* generateProgram(args: GenerateArgs, context: ProgramContext): AsyncGenerator<GenerationEvent, void, undefined> {
  const named = (name: 'prefill' | 'decode'): Executable => {
    const executable = context.executables[name];
    if (executable === undefined) throw new QuerentError('QRT_USAGE', `generateProgram was given no executable called ${name}.`);
    return executable;
  };
  yield* generate({ prefill: named('prefill'), decode: named('decode') }, args, context.signal);
}

/** Where {@link generateProgram} is imported from on an engine's side. */
export const GENERATE_MODULE: string = import.meta.url;

/** {@link generate} on the engine's side. */
export function generateOn(engine: Engine, executables: DecodingExecutables, args: GenerateArgs, signal?: AbortSignal): AsyncIterable<GenerationEvent> {
  return engine.program<GenerationEvent>(GENERATE_MODULE, 'generateProgram', args, {
    executables: { prefill: executables.prefill, decode: executables.decode },
    ...(signal === undefined ? {} : { signal }),
  });
}

/** The texts of a generation, without its deltas. */
export async function collect(events: AsyncIterable<GenerationEvent>): Promise<GeneratedEvent['rows']> {
  let rows: GeneratedEvent['rows'] = [];
  for await (const event of events) if (event.type === 'generated') rows = event.rows;
  return rows;
}

function chooseStrategy(executables: DecodingExecutables, args: GenerateArgs, options: ResolvedOptions, hooks: GenerateHooks): Strategy {
  const batch = batchOf(args);
  const histories = args.history ?? defaultHistories(executables, args, batch);
  if (histories.length !== batch) throw new QuerentError('QRT_USAGE', `history has ${histories.length} rows, the prompt ${batch}.`);
  const builtIn = scoreProcessor(options);
  const process: RowProcessor = (scores, sequence, generated, row) => {
    builtIn(scores, sequence, generated);
    hooks.process?.(scores, sequence, generated, row);
  };
  const filler = args.tokens.pad ?? options.eosTokenIds[0] ?? 0;
  const { stopStrings: strings } = options;
  if (strings.length > 0 && args.pieces === undefined) throw new QuerentError('QRT_USAGE', 'stopStrings need to know what each token adds to a text.', { fix: 'Give `pieces` beside the options.' });
  const isStopped = strings.length === 0 ? undefined : stopTest({ strings, pieces: args.pieces ?? [] });
  return options.numBeams > 1 ? beamSearch(histories, options, process, isStopped) : sampling(histories, options, process, filler, isStopped);
}

/** How many tokens stand before the first new one, as transformers counts them: it has one for each query of the image. */
function promptLength({ prefill, decode }: DecodingExecutables, { softPrompt, promptIds }: GenerateArgs): number {
  if (!prefill.outputs.some((port) => port.name === 'logits')) return 1; // the start token
  const hasEncoder = decode.inputs.some((port) => port.name === 'encoder_attention_mask'); // then it, not the decoder, has read the image
  return (hasEncoder ? 0 : (softPrompt?.shape[1] ?? 0)) + (promptIds?.shape[1] ?? 0);
}

function defaultHistories(executables: DecodingExecutables, args: GenerateArgs, batch: number): readonly (readonly number[])[] {
  const readsPrompt = executables.prefill.outputs.some((port) => port.name === 'logits');
  const start = args.tokens.decoderStart;
  return Array.from({ length: batch }, (_, row) => {
    if (!readsPrompt) return start === undefined ? [] : [start];
    const width = args.promptIds?.shape[1] ?? 0;
    return Array.from(args.promptIds?.data.slice(row * width, (row + 1) * width) ?? [], Number);
  });
}
