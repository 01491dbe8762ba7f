// Bytes to pixels
export { decodeImage } from './decode.ts';
export type { DecodeOptions } from './decode.ts';
export type { ImageSource, RawPixels } from './source.ts';
export type { RawImage } from './raw-image.ts';

// Pixels to what an encoder reads
export { createImageProcessor } from './processor.ts';
export type { ImageProcessor } from './processor.ts';
export { preprocessorConfigSchema } from './processor-config.ts';
export type { ImageSize, PreprocessorConfig } from './processor-config.ts';

// Pillow-exact resizing
export { crop, resize } from './resample.ts';
export type { Box, ResizeOptions } from './resample.ts';
export type { Filter } from './resample-coefficients.ts';
