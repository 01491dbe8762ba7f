/** What may be given as an image, anywhere. Types only; `@querent/images` decodes and prepares them. */

/** Pixels that need no decoding; also what a canvas' `ImageData` looks like. */
export interface RawPixels {
  readonly width: number;
  readonly height: number;
  /** Found from the length of `data` when not given. Alpha is dropped, grey is repeated. */
  readonly channels?: 1 | 3 | 4;
  /** uint8 `[height, width, channels]`, interleaved. */
  readonly data: Uint8Array | Uint8ClampedArray;
}

/**
 * A file's path; a `file:`, `http:`, `https:` or `data:` URL; the bytes of a picture; a stream of them (web or Node,
 * used up by reading); or pixels.
 */
export type ImageSource =
  | string
  | URL
  | Uint8Array
  | ArrayBuffer
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array>
  | RawPixels;
