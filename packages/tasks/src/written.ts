/** One text, written with somebody reading along: what `run` of every writing task comes to. Many at once: `generated` in `stages.ts`. */
import type { ImageSource, LoadedModel, TaskContext, TaskDelta, TensorData } from '@querent/core';
import { bestOf } from './stages.ts';
import type { GeneratedText, OneText, RowOptions } from './stages.ts';

/**
 * Images → one soft prompt, float32 [1, images * queries, hidden]: the images' queries one after the other.
 *
 * @param instruction what the bridge reads beside each image, in models whose bridge does.
 */
export async function softPromptOf(model: LoadedModel, images: readonly ImageSource[], instruction: string, signal: AbortSignal): Promise<TensorData<'float32'>> {
  const pixels = await Promise.all(images.map((image) => model.prepare(image, { signal })));
  const features = await model.encode(pixels, { signal });
  const texts = model.readsInstruction === true ? { texts: images.map(() => instruction) } : {};
  const { shape, data } = await model.bridge(features, { signal, ...texts });
  const [count = 0, queries = 0, hidden = 0] = shape;
  return { dtype: 'float32', shape: [1, count * queries, hidden], data };
}

/** Deltas where somebody reads along, then the whole; together the deltas are the text. */
export async function* written(
  model: LoadedModel,
  softPrompt: TensorData<'float32'>,
  options: RowOptions,
  { signal, stream }: Pick<TaskContext, 'signal' | 'stream'>,
): AsyncGenerator<TaskDelta | GeneratedText, void, undefined> {
  let hasDeltas = false;
  const texts: OneText[] = [];
  for await (const event of model.generate(softPrompt, { ...options, signal })) {
    if (event.type === 'text') texts.push({ text: event.text, score: event.score, finish: event.finish });
    else if (stream) {
      hasDeltas = true;
      yield { delta: event.delta };
    }
  }
  const best = bestOf(texts);
  if (stream && !hasDeltas) yield { delta: best.text }; // beam search: nothing is certain before the end
  yield best;
}
