/**
 * The steps from photographs to sentences, one by one, for those who compose them:
 *
 *     from(photos).pipe(decode(), encode(model), bridge(model), generate(model))
 *
 * Each is a stage over results: an item that fails becomes `{ item, error }` and the others go on. Between stages items are pulled, so
 * that memory stays flat; decoding of the next images overlaps the encoder, which overlaps the language model.
 */
import { from, mapBounded, mapResults, withRetries } from '@querent/core';
import type { GenerateOptions, ImageSource, LoadedModel, RawPixels, Result, RetryOptions, Stage, TensorData } from '@querent/core';
import { isFailure } from '@querent/core';
import { decodeImage } from '@querent/images';
import type { BatchedOptions, GeneratedText } from '@querent/tasks';
import { bridged, generated, holdsImage, seen } from '@querent/tasks';

/** An item of a flow: an image, or an object that holds one beside what else belongs to it. */
export type ImageItem = ImageSource | { readonly image: ImageSource };

/** What came of an item: `{ item, text, score, finish }` or `{ item, error }`. */
export type ItemOutput<Item, Output extends object> =
  | ({ readonly item: Item; readonly error?: undefined } & Output)
  | ({ readonly item: Item; readonly error: Error } & { readonly [K in keyof Output]?: undefined });

export interface DecodeStageOptions {
  /** Images decoded at the same time. Default 4. */
  readonly concurrency?: number;
  /** Refuse pictures with more pixels. Default 100 million. */
  readonly maxPixels?: number;
  /** Read again what could not be read for a reason that may pass: the network, a busy file. Others go on meanwhile. */
  readonly retry?: RetryOptions;
}

/** Items → pixels, off the main thread. A file that is missing, damaged, too large or no picture fails alone. */
export function decode<Item extends ImageItem>(options: DecodeStageOptions = {}): Stage<Item, Result<Item, RawPixels>> {
  const { concurrency = 4, maxPixels, retry } = options;
  const limits = maxPixels === undefined ? {} : { maxPixels };
  return mapBounded(
    async (item: Item, { signal }): Promise<RawPixels> => {
      const image: ImageSource = holdsImage<{ readonly image: ImageSource }>(item) ? item.image : item;
      const read = (): Promise<Awaited<ReturnType<typeof decodeImage>>> => decodeImage(image, { signal, ...limits });
      return { ...(await (retry === undefined ? read() : withRetries(read, retry, signal))), channels: 3 };
    },
    { concurrency, onError: 'item' },
  );
}

/** Pixels → the frozen encoder's features, float32 [patches, width] each. */
export function encode<Item>(model: LoadedModel, options: BatchedOptions = {}): Stage<Result<Item, ImageSource>, Result<Item, TensorData<'float32'>>> {
  return seen<Item>(model, { ...options, concurrency: 1 });
}

/** Features → soft prompts, float32 [queries, hidden] each. */
export function bridge<Item>(model: LoadedModel, options: BatchedOptions = {}): Stage<Result<Item, TensorData<'float32'>>, Result<Item, TensorData<'float32'>>> {
  return bridged<Item>(model, options);
}

export interface GenerateStageOptions extends Omit<GenerateOptions, 'signal' | 'prompt'>, BatchedOptions {
  /** Text that each answer goes on from. */
  readonly prompt?: string;
}

/** Soft prompts → texts. */
export function generate<Item>(model: LoadedModel, options: GenerateStageOptions = {}): Stage<Result<Item, TensorData<'float32'>>, ItemOutput<Item, GeneratedText>> {
  const { batch, maxWaitMs, ...how } = options;
  const batched = { ...(batch === undefined ? {} : { batch }), ...(maxWaitMs === undefined ? {} : { maxWaitMs }) };
  return (source) =>
    from(source).pipe(
      mapResults<Item, TensorData<'float32'>, { softPrompt: TensorData<'float32'>; options: typeof how }>((softPrompt) => ({ softPrompt, options: how })),
      generated<Item>(model, batched),
      mapBounded(itemOutput<Item, GeneratedText>),
    );
}

/** A result as one object. */
export function itemOutput<Item, Output extends object>(result: Result<Item, Output>): ItemOutput<Item, Output> {
  // The two branches are those of the type; Output's keys are its own, or absent.
  return (isFailure(result) ? { item: result.item, error: result.error } : { item: result.item, ...result.value }) as ItemOutput<Item, Output>;
}
