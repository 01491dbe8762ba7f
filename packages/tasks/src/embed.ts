/**
 * Embed: an image or a text → unit vectors in the space that both share (ITC). An image has one vector a query, a text has one;
 * their similarity is the largest cosine (`similarities` in `match.ts`).
 */
import { QuerentError, defineTask, validate } from '@querent/core';
import type { ImageSource, JsonSchema, TaskPlugin } from '@querent/core';
import { unstack } from './tensors.ts';

/** One of the two. */
export interface EmbedInput {
  readonly image?: ImageSource;
  readonly text?: string;
}

export interface EmbedOutput {
  /** Unit vectors: a query each for an image, one for a text. */
  readonly vectors: readonly (readonly number[])[];
}

const input: JsonSchema = {
  description: 'An image or a text.',
  type: 'object',
  properties: {
    image: { description: 'A path, a URL, the bytes of a picture, a Blob, a stream or pixels.' },
    text: { type: 'string', minLength: 1, description: 'A text.' },
  },
  additionalProperties: false,
};

const output: JsonSchema = {
  type: 'object',
  properties: { vectors: { type: 'array', items: { type: 'array', items: { type: 'number' } }, description: 'Unit vectors: a query each for an image, one for a text.' } },
  required: ['vectors'],
};

const embed: TaskPlugin<EmbedInput, EmbedOutput> = defineTask<EmbedInput, EmbedOutput>({
  name: 'embed',
  description: 'Gives the vectors of an image or a text in the space that both share.',
  input,
  output,
  requires: ['encode', 'embed'],

  async *run(given, { model, signal }) {
    const { image, text } = validate<EmbedInput>(input, given, { what: 'the input of embed' });
    if ((image === undefined) === (text === undefined)) {
      throw new QuerentError('QRT_USAGE', `The task embed was given ${image === undefined ? 'neither an image nor a text' : 'both an image and a text'}.`, {
        fix: 'Give { image } or { text }.',
      });
    }
    if (text !== undefined) {
      const batch = await model.embedTexts([text], { signal });
      yield { vectors: [Array.from(batch.data)] };
    } else if (image !== undefined) {
      const features = await model.encode([await model.prepare(image, { signal })], { signal });
      const [vectors] = unstack(await model.embedImages(features, { signal }));
      yield { vectors: vectors === undefined ? [] : unstack(vectors).map((vector) => Array.from(vector.data)) };
    }
  },
});
export default embed;
