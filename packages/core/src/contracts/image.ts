/** What may be given as an image, anywhere. Types only; `@querent/images` decodes and prepares them. */

/** Pixels as they are: RGB or RGBA or grey, 8 bits a channel, row by row, channels last. */
export interface RawImage {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3 | 4;
  /** `width * height * channels` bytes. */
  readonly data: Uint8Array;
}

/** Encoded bytes or pixels; a string is a path or an http(s), file or data URL. */
export type ImageSource =
  | string
  | URL
  | Uint8Array
  | ArrayBuffer
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array>
  | RawImage;
