/**
 * Match: how well a text belongs to an image. Two answers of BLIP-2's first stage: the probability of the matching head, which
 * has read both together (ITM), and the largest cosine between the image's query vectors and the text's vector (ITC).
 */
import { defineTask, mapBatches, mapBounded, mapResults, validate } from '@querent/core';
import type { ImageSource, JsonSchema, TaskPlugin, TensorData } from '@querent/core';
import { assertImage, imageInputSchema } from './image-input.ts';
import { batching, seen } from './stages.ts';
import { stack } from './tensors.ts';

export interface MatchInput {
  readonly image: ImageSource;
  readonly text: string;
  /** The probability from which on they count as matching. Default 0.5. */
  readonly threshold?: number;
}

export interface MatchOutput {
  /** That image and text belong together, in [0, 1] (ITM). */
  readonly probability: number;
  /** Largest cosine over the image's queries, in [-1, 1] (ITC). */
  readonly similarity: number;
  readonly isMatch: boolean;
}

const THRESHOLD = 0.5;

const input: JsonSchema = imageInputSchema(
  'An image and a text.',
  {
    text: { type: 'string', minLength: 1, description: 'The text to compare with.' },
    threshold: { type: 'number', minimum: 0, maximum: 1, description: 'The probability from which on they count as matching. Default 0.5.' },
  },
  ['text'],
);
const what = 'the input of match';

const output: JsonSchema = {
  type: 'object',
  properties: {
    probability: { type: 'number', minimum: 0, maximum: 1, description: 'That image and text belong together (ITM).' },
    similarity: { type: 'number', description: "Largest cosine over the image's queries (ITC)." },
    isMatch: { type: 'boolean', description: 'Is the probability at least the threshold?' },
  },
  required: ['probability', 'similarity', 'isMatch'],
};

/**
 * The largest cosine of each image's queries with each text.
 *
 * @param images unit vectors, float32 [images, queries, shared]
 * @param texts unit vectors, float32 [texts, shared]
 * @returns one row an image, float32 [images][texts]
 */
export function similarities(images: TensorData<'float32'>, texts: TensorData<'float32'>): Float32Array[] {
  const [count = 0, queries = 0, shared = 0] = images.shape;
  const columns = texts.shape[0] ?? 0;
  return Array.from({ length: count }, (_, i) =>
    Float32Array.from({ length: columns }, (_text, j) => {
      let best = -Infinity;
      for (let q = 0; q < queries; q++) {
        let dot = 0;
        const start = (i * queries + q) * shared;
        for (let k = 0; k < shared; k++) dot += images.data[start + k]! * texts.data[j * shared + k]!;
        best = Math.max(best, dot);
      }
      return best;
    }),
  );
}

function check(given: MatchInput): MatchInput {
  const checked = validate<MatchInput>(input, given, { what });
  assertImage(checked.image, 'match');
  return checked;
}

/** A row of a batch: the image's features [patches, width] and what it is compared with. */
interface Pair {
  readonly features: TensorData<'float32'>;
  readonly input: MatchInput;
}

const match: TaskPlugin<MatchInput, MatchOutput> = defineTask<MatchInput, MatchOutput>({
  name: 'match',
  description: 'Says how well a text belongs to an image.',
  input,
  output,
  requires: ['encode', 'embed', 'match'],

  async *run(given, { model, signal }) {
    const { image, text, threshold = THRESHOLD } = check(given);
    const features = await model.encode([await model.prepare(image, { signal })], { signal });
    const [probability = 0] = await model.match(features, [text], { signal });
    const images = await model.embedImages(features, { signal });
    const similarity = similarities(images, await model.embedTexts([text], { signal }))[0]![0]!;
    yield { probability, similarity, isMatch: probability >= threshold };
  },

  stage: ({ model }) => (source) =>
    mapBounded((given: MatchInput) => check(given).image, { onError: 'item' })(source).pipe(
      seen(model),
      mapResults((features, { item }): Pair => ({ features, input: item })),
      mapBatches<MatchInput, Pair, MatchOutput>(async (pairs, { signal }) => {
        const features = stack(pairs.map((pair) => pair.features));
        const texts = pairs.map((pair) => pair.input.text);
        const probabilities = await model.match(features, texts, { signal });
        const table = similarities(await model.embedImages(features, { signal }), await model.embedTexts(texts, { signal }));
        return pairs.map((pair, i) => {
          const probability = probabilities[i]!;
          return { probability, similarity: table[i]![i]!, isMatch: probability >= (pair.input.threshold ?? THRESHOLD) };
        });
      }, batching({})),
    ),
});
export default match;
