/**
 * The steps from an image to a text as stages over results: each works on batches of what has not failed, and a failed item
 * goes through as it is. They know a model by its contract only. `caption.ts` puts them together.
 *
 *     image ─ prepared ─ encoded ─ bridged ─ generated ─ text
 *     decoding of the next images overlaps the encoder, which overlaps the language model: each stage gathers while it works
 */
import { availableParallelism } from 'node:os';
import { from, mapBatches, mapResults } from '@querent/core';
import type { GenerateOptions, ImageSource, LoadedModel, Result, Stage, TensorData } from '@querent/core';
import { stack, unstack } from './tensors.ts';

export interface PrepareOptions {
  /** Images decoded at the same time. Default: as many as there are cores, at most 4; more only take turns. */
  readonly concurrency?: number;
}

export interface BatchedOptions {
  /** Rows that are worked on together. Default 16. */
  readonly batch?: number;
  /** A smaller batch goes ahead when its first row has waited this long. Default 250. */
  readonly maxWaitMs?: number;
}

export interface EncodeStageOptions extends BatchedOptions {
  /** Whoever reads the features has no use for the pixels: see {@link LoadedModel.encode}. Default false. */
  readonly givesUpPixels?: boolean;
}

/** Rows of a model's step: float32, without the batch axis. */
type Row = TensorData<'float32'>;

const BATCH = 16;
const MAX_WAIT_MS = 250;

/** What `mapBatches` is told. */
export function batching({ batch = BATCH, maxWaitMs = MAX_WAIT_MS }: BatchedOptions): { readonly size: number; readonly maxWaitMs: number } {
  return { size: batch, maxWaitMs };
}

/** Images → float32 [channels, height, width] each. An image that cannot be decoded fails alone. */
export function prepared<Item>(model: LoadedModel, options: PrepareOptions = {}): Stage<Result<Item, ImageSource>, Result<Item, Row>> {
  return mapResults((image, { signal }) => model.prepare(image, { signal }), { concurrency: options.concurrency ?? Math.min(4, availableParallelism()) });
}

/** Prepared images → the frozen encoder's features, float32 [patches, width] each. */
export function encoded<Item>(model: LoadedModel, options: EncodeStageOptions = {}): Stage<Result<Item, Row>, Result<Item, Row>> {
  const { givesUpPixels = false } = options;
  return mapBatches<Item, Row, Row>(async (rows, { signal }) => unstack(await model.encode(rows, { signal, givesUpPixels })), batching(options));
}

/** Images → features: {@link prepared} and {@link encoded}, with nobody in between who could hold on to the pixels. */
export function seen<Item>(model: LoadedModel, options: PrepareOptions & BatchedOptions = {}): Stage<Result<Item, ImageSource>, Result<Item, Row>> {
  return (source) => from(source).pipe(prepared<Item>(model, options), encoded<Item>(model, { ...options, givesUpPixels: true }));
}

/** Features → soft prompts, float32 [queries, hidden] each. */
export function bridged<Item>(model: LoadedModel, options: BatchedOptions = {}): Stage<Result<Item, Row>, Result<Item, Row>> {
  return mapBatches<Item, Row, Row>(async (rows, { signal }) => unstack(await model.bridge(stack(rows), { signal })), batching(options));
}

/** How one row is written; its prompt is one text. */
export type RowOptions = Omit<GenerateOptions, 'signal' | 'prompt'> & { readonly prompt?: string };

/** A row for {@link generated}. */
export interface PromptedRow {
  /** float32 [queries, hidden] */
  readonly softPrompt: Row;
  readonly options?: RowOptions;
}

/** A row for {@link instructed}. */
export interface InstructedRow {
  /** float32 [patches, width] */
  readonly features: Row;
  /** What the bridge reads beside them, in models whose bridge does. */
  readonly instruction: string;
}

/** Features with an instruction → soft prompts, float32 [queries, hidden] each. */
export function instructed<Item>(model: LoadedModel, options: BatchedOptions = {}): Stage<Result<Item, InstructedRow>, Result<Item, Row>> {
  return mapBatches<Item, InstructedRow, Row>(async (rows, { signal }) => {
    const texts = model.readsInstruction === true ? { texts: rows.map(({ instruction }) => instruction) } : {};
    return unstack(await model.bridge(stack(rows.map(({ features }) => features)), { signal, ...texts }));
  }, batching(options));
}

/** A finished text. */
export interface GeneratedText extends OneText {
  /** All texts, best first, where more than one was asked for. */
  readonly nBest?: readonly OneText[];
}

export interface OneText {
  readonly text: string;
  /** Mean log-probability of its tokens, length penalty applied. */
  readonly score: number;
  /** `end`: the model was done; `stop`: one of the stop texts came; `length`: it was cut. */
  readonly finish: 'end' | 'stop' | 'length';
}

/** Soft prompts → texts. Rows of a batch that are to be written alike are written together; each may have its own prompt. */
export function generated<Item>(model: LoadedModel, options: BatchedOptions = {}): Stage<Result<Item, PromptedRow>, Result<Item, GeneratedText>> {
  return mapBatches<Item, PromptedRow, GeneratedText>((rows, { signal }) => generateRows(model, rows, signal), batching(options));
}

/** The texts of rows, in their order. */
export async function generateRows(model: LoadedModel, rows: readonly PromptedRow[], signal: AbortSignal): Promise<GeneratedText[]> {
  const alike = new Map<string, number[]>();
  rows.forEach((row, i) => {
    const { prompt: _, ...how } = row.options ?? {};
    const key = JSON.stringify(how);
    alike.set(key, [...(alike.get(key) ?? []), i]);
  });
  const texts: OneText[][] = rows.map(() => []);
  for (const indices of alike.values()) {
    const group = indices.map((i) => rows[i]!);
    const how: GenerateOptions = { ...group[0]!.options, prompt: group.map((row) => row.options?.prompt ?? ''), signal };
    for await (const event of model.generate(stack(group.map((row) => row.softPrompt)), how)) {
      if (event.type === 'text') texts[indices[event.row]!]!.push({ text: event.text, score: event.score, finish: event.finish });
    }
  }
  return texts.map(bestOf);
}

/** One row's texts, best first, as an output. */
export function bestOf(texts: readonly OneText[]): GeneratedText {
  return texts.length > 1 ? { ...texts[0]!, nBest: texts } : texts[0]!;
}
