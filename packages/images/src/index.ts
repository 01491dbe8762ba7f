// Bytes to pixels
export { decodeImage } from './decode.ts';
export type { DecodeOptions } from './decode.ts';
export type { ImageSource, RawPixels } from '@querent/core';
export type { RawImage } from './raw-image.ts';

// Pixels to what an encoder reads
export { createImageProcessor } from './processor.ts';
export type { ImageProcessor } from './processor.ts';
export { preprocessorConfigSchema } from './processor-config.ts';
export type { ImageSize, PreprocessorConfig } from './processor-config.ts';

// Pillow-exact resizing
export { crop, resize, resizeAsync } from './resample.ts';
export type { Box, ResizeOptions } from './resample.ts';
export type { Filter } from './resample-coefficients.ts';

// Seeded randomness, for augmentation and training
export { createRandom } from './random.ts';
export type { Random, RandomState } from './random.ts';

// Training: augmentation
export { augment, colorJitter, flipHorizontally, randomResizedCropBox } from './augment.ts';
export type { AugmentOptions, ColorJitter } from './augment.ts';

// Back to files
export { drawHeatMaps, encodePng, seenRegion } from './heat-map.ts';
export type { HeatMapOptions, Region } from './heat-map.ts';
