/**
 * Embed: an image or a text → unit vectors in the space that both share (ITC): an image has one vector a query, a text has one; their
 * similarity is the largest cosine (`similarities` in `match.ts`). An image with a text → multimodal features: the queries after they
 * have read both (LAVIS `extract_features`), which are neither unit vectors nor of that space.
 */
import { QuerentError, defineTask, mapBatches, mapBounded, mapResults, validate } from '@querent/core';
import type { ImageSource, JsonSchema, LoadedModel, TaskPlugin, TensorData } from '@querent/core';
import { batching } from './stages.ts';
import { stack, unstack } from './tensors.ts';

/** One of the two, or both. */
export interface EmbedInput {
  readonly image?: ImageSource;
  readonly text?: string;
}

export interface EmbedOutput {
  /** What they are vectors of. */
  readonly of: 'image' | 'text' | 'both';
  /** A query each for an image, one for a text: unit vectors; for both, what each query holds. */
  readonly vectors: readonly (readonly number[])[];
}

const input: JsonSchema = {
  description: 'An image, a text, or both.',
  type: 'object',
  properties: {
    image: { description: 'A path, a URL, the bytes of a picture, a Blob, a stream or pixels.' },
    text: { type: 'string', minLength: 1, description: 'A text.' },
  },
  additionalProperties: false,
};

const output: JsonSchema = {
  type: 'object',
  properties: {
    of: { enum: ['image', 'text', 'both'], description: 'What they are vectors of.' },
    vectors: {
      type: 'array',
      items: { type: 'array', items: { type: 'number' } },
      description: 'A query each for an image, one for a text: unit vectors; for both, what each query holds.',
    },
  },
  required: ['of', 'vectors'],
};

/** A row of a batch: the image, prepared, and the text. */
interface Row {
  readonly pixels?: TensorData<'float32'>;
  readonly text?: string;
}

function check(given: EmbedInput): EmbedInput {
  const checked = validate<EmbedInput>(input, given, { what: 'the input of embed' });
  if (checked.image === undefined && checked.text === undefined) {
    throw new QuerentError('QRT_USAGE', 'The task embed was given neither an image nor a text.', { fix: 'Give { image }, { text } or both.' });
  }
  return checked;
}

async function rowOf({ image, text }: EmbedInput, model: LoadedModel, signal: AbortSignal): Promise<Row> {
  return { ...(image === undefined ? {} : { pixels: await model.prepare(image, { signal }) }), ...(text === undefined ? {} : { text }) };
}

/** Rows of each sort go through the model together. */
async function embedRows(model: LoadedModel, rows: readonly Row[], signal: AbortSignal): Promise<EmbedOutput[]> {
  const outputs: EmbedOutput[] = [];
  const numbered = rows.map(({ pixels, text }, i) => ({ pixels, text, i }));
  const texts = numbered.flatMap(({ pixels, text, i }) => (pixels === undefined && text !== undefined ? [{ text, i }] : []));
  if (texts.length > 0) {
    const vectors = unstack(await model.embedTexts(texts.map(({ text }) => text), { signal }));
    texts.forEach(({ i }, row) => (outputs[i] = { of: 'text', vectors: [Array.from(vectors[row]!.data)] }));
  }
  const images = numbered.flatMap(({ pixels, text, i }) => (pixels === undefined ? [] : [{ pixels, text, i }]));
  if (images.length === 0) return outputs;
  const features = unstack(await model.encode(images.map(({ pixels }) => pixels), { signal }));
  const sorted = images.map(({ text, i }, row) => ({ text, i, features: features[row]! }));
  const alone = sorted.filter(({ text }) => text === undefined);
  if (alone.length > 0) {
    const vectors = unstack(await model.embedImages(stack(alone.map((one) => one.features)), { signal }));
    alone.forEach(({ i }, row) => (outputs[i] = { of: 'image', vectors: vectorsOf(vectors[row]!) }));
  }
  const both = sorted.flatMap(({ text, i, features: one }) => (text === undefined ? [] : [{ text, i, one }]));
  if (both.length > 0) {
    const queries = unstack(await model.bridge(stack(both.map(({ one }) => one)), { texts: both.map(({ text }) => text), signal }));
    both.forEach(({ i }, row) => (outputs[i] = { of: 'both', vectors: vectorsOf(queries[row]!) }));
  }
  return outputs;
}

/** [queries, width] → a list a query. */
function vectorsOf(rows: TensorData<'float32'>): number[][] {
  return unstack(rows).map(({ data }) => Array.from(data));
}

const embed: TaskPlugin<EmbedInput, EmbedOutput> = defineTask<EmbedInput, EmbedOutput>({
  name: 'embed',
  description: 'Gives the vectors of an image, of a text, or of both read together.',
  input,
  output,
  requires: ['encode', 'embed'],

  async *run(given, { model, signal }) {
    yield* await embedRows(model, [await rowOf(check(given), model, signal)], signal);
  },

  stage: ({ model }) => (source) =>
    mapBounded(check, { onError: 'item' })(source).pipe(
      mapResults((given: EmbedInput, { signal }) => rowOf(given, model, signal), { concurrency: 4 }),
      mapBatches<EmbedInput, Row, EmbedOutput>((rows, { signal }) => embedRows(model, rows, signal), batching({})),
    ),
});
export default embed;
