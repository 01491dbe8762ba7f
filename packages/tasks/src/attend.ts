/**
 * Attend: an image and perhaps a text → where the bridge's queries looked, as numbers over the patches and as a heat map over the
 * photograph. The weights are the cross-attention of the last layer that looks, the mean over its heads. Each word is read by itself,
 * together with the image, so that its map is its own.
 */
import { defineTask, validate } from '@querent/core';
import type { AttentionMap, ImageSource, JsonSchema, TaskPlugin } from '@querent/core';
import { assertImage, holdsImage, imageInputSchema } from './image-input.ts';

export interface AttendRequest {
  readonly image: ImageSource;
  /** A map for each of its words. Default: none, one map of the image alone. */
  readonly text?: string;
  /** A map for each query, instead of their mean. Default false. */
  readonly perQuery?: boolean;
}

/** An image alone, or an {@link AttendRequest}. */
export type AttendInput = ImageSource | AttendRequest;

/** One map: `rows * columns` weights that sum to 1, row by row. */
export interface PatchWeights extends Omit<AttentionMap, 'weights'> {
  readonly weights: readonly number[];
}

export interface AttendOutput {
  /** A word each, or a query each, in order. */
  readonly maps: readonly PatchWeights[];
  /** The maps over the photograph, in reading order, as the bytes of a PNG; absent where the model cannot draw. */
  readonly png?: Uint8Array;
}

const input = imageInputSchema('An image, and perhaps a text.', {
  text: { type: 'string', description: 'A map for each of its words.' },
  perQuery: { type: 'boolean', description: 'A map for each query, instead of their mean.' },
}, []);

const count: JsonSchema = { type: 'integer', minimum: 0 };
const output: JsonSchema = {
  type: 'object',
  properties: {
    maps: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          word: { type: 'string', description: 'The word that was read with the image.' },
          query: { ...count, description: 'The query whose look it is.' },
          rows: { ...count, description: 'Patches down.' },
          columns: { ...count, description: 'Patches across.' },
          weights: { type: 'array', items: { type: 'number' }, description: 'Row by row; they sum to 1.' },
        },
        required: ['rows', 'columns', 'weights'],
      },
      description: 'A word each, or a query each.',
    },
    png: { description: 'The maps over the photograph: the bytes of a PNG.' },
  },
  required: ['maps'],
};

const attend: TaskPlugin<AttendInput, AttendOutput> = defineTask<AttendInput, AttendOutput>({
  name: 'attend',
  description: 'Shows which patches of an image the queries looked at.',
  input,
  output,
  requires: ['encode', 'attend'],

  async *run(given, { model, signal }) {
    const checked = validate<AttendInput>(input, given, { what: 'the input of attend' });
    const { image, text = '', perQuery = false } = holdsImage<AttendRequest>(checked) ? checked : { image: checked };
    assertImage(image, 'attend');
    const features = await model.encode([await model.prepare(image, { signal })], { signal });
    const maps = await model.attend(features, text, { signal, perQuery });
    const png = await model.drawAttention?.(image, maps, { signal });
    yield { maps: maps.map((map) => ({ ...map, weights: Array.from(map.weights) })), ...(png === undefined ? {} : { png }) };
  },
});
export default attend;
