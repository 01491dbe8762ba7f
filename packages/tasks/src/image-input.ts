/** Inputs that are an image, or an object that holds one: how they are told apart, and their schema. */
import { QuerentError } from '@querent/core';
import type { ImageSource, JsonSchema } from '@querent/core';

/** Is this `{ image, … }` rather than an image? Pixels, bytes, Blobs, URLs and streams have no `image` of their own. */
export function holdsImage<T extends { readonly image: ImageSource }>(input: ImageSource | T): input is T {
  return typeof input === 'object' && input !== null && Object.hasOwn(input, 'image');
}

/** The schema of an image, or of an object with an `image` and these properties. A typing error in a key is found. */
export function imageInputSchema(description: string, properties: Readonly<Record<string, JsonSchema>>, required: readonly string[] = []): JsonSchema {
  return {
    description,
    type: required.length > 0 ? 'object' : ['object', 'string'],
    properties: { image: { description: 'A path, a URL, the bytes of a picture, a Blob, a stream or pixels.' }, ...properties },
    ...(required.length > 0 ? { required: ['image', ...required] } : {}),
    if: { type: 'object', required: ['image'] },
    // oxlint-disable-next-line unicorn/no-thenable -- JSON Schema's keyword
    then: { properties: { image: {}, ...Object.fromEntries(Object.keys(properties).map((key) => [key, {}])) }, additionalProperties: false },
  };
}

/** @throws QuerentError QRT_USAGE when nothing was given. */
export function assertImage(image: ImageSource | undefined, task: string): asserts image is ImageSource {
  if (image === undefined || image === null) {
    throw new QuerentError('QRT_USAGE', `The task ${task} was given ${String(image)} as its image.`, {
      fix: 'Give a path, a URL, the bytes of a picture, a Blob, a stream or pixels.',
    });
  }
}
