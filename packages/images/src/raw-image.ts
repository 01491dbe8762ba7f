/** Pixels in memory, between the decoder and the processor. Read `decode.ts` next. */

/** An RGB picture: uint8 `[height, width, 3]`, row-major, interleaved, no padding between rows. */
export interface RawImage {
  readonly width: number;
  readonly height: number;
  /** `height * width * 3` bytes; whoever holds the image may read it, nobody writes to it. */
  readonly data: Uint8Array;
}
